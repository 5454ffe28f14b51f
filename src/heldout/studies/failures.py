"""How a job fails: with its worker, or by an error that comes back from there."""

import copy
import traceback

from heldout.check import FitError


class JobFailed(FitError):  # noqa: N818 - it says what happened
    """A job was lost with its worker process too often, or failed in a way that could not be sent; the message names it."""


def name_of(index: int, job: object) -> str:
    """Give what messages call a job.

    Examples
    --------
    >>> name_of(3, 0.5)
    'job 3'
    """
    name = getattr(job, "name", None)
    return f"job {index} ({name})" if name else f"job {index}"


def sendable(error: Exception, name: str) -> Exception:
    """Give an error as another process can have it: itself, or where it cannot be copied, one that holds its text.

    Parameters
    ----------
    error : Exception
        What a task raised.
    name : str
        Of the job.

    Examples
    --------
    >>> sendable(KeyError("x"), "job 3")
    KeyError('x')
    """
    try:
        copy.deepcopy(error)
    except Exception:  # noqa: BLE001 - whatever an exception's own methods do
        detail = "".join(traceback.format_exception(error))
        return JobFailed(f"{name} raised {type(error).__name__}: {error}\n{detail}")
    return error
