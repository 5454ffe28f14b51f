"""Back translation: a text said anew by way of another language, made once and kept.

Any `Translator` will do for each way: `Apertium`, rules and dictionaries in a program of the system, small and fast, or
`heldout.augment.marian.Marian`, neural models, slower and closer to what was said. `read_translation` makes a pair from a line of text.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import textwrap
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import filelock

from heldout.check import FitError, InputError, check_number, did_you_mean

if TYPE_CHECKING:
    from heldout.augment.marian import Marian

_FORMAT = "1"  # raise it when the same texts would come back otherwise
_CHUNK = 64  # texts between two writes of the cache: so many are lost when a fit is stopped
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_MODE = re.compile(r"[a-z]{2,3}(_\w+)?-[a-z]{2,3}(_\w+)?")
_SPECS = "'apertium:eng-spa' (there and back by Apertium), 'apertium:THERE,BACK' (two of its modes) or 'marian:THERE,BACK' (two folders or hub names of Marian models)"


class Translator(Protocol):
    """What translates one way."""

    @property
    def name(self) -> str:
        """All that decides what comes back (program, model, options): translations are kept under it."""

    def translate(self, texts: Sequence[str]) -> list[str]:
        """The texts in the other language, in order; any may be empty or of several lines."""


class BackTranslation:
    """Texts there and back again, each translated once: what was made is kept on disk, by every process of the machine.

    Parameters
    ----------
    there, back : Translator
        The two ways.
    cache : path, optional
        Folder to keep variants in, as readable text, if it can be written. Default: ``$XDG_CACHE_HOME/heldout`` (``~/.cache/heldout``).

    References
    ----------
    Sennrich, Haddow & Birch 2016, arXiv 1511.06709 (back translation); Yu et al. 2018, arXiv 1804.09541, section 3 (as augmentation).

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> class Swap:
    ...     def __init__(self, old, new):
    ...         self.old, self.new, self.name = old, new, f"{old} to {new}"
    ...     def translate(self, texts):
    ...         return [text.replace(self.old, self.new) for text in texts]
    >>> BackTranslation(Swap("film", "película"), Swap("película", "movie"), cache=mkdtemp()).variants(["a film", ""])
    ['a movie', '']
    """

    def __init__(self, there: Translator, back: Translator, *, cache: str | Path | None = None) -> None:
        self.there, self.back = there, back
        home = Path(os.environ.get("XDG_CACHE_HOME", ""))
        caches = home if home.is_absolute() else Path.home() / ".cache"
        self._folder = caches / "heldout" if cache is None else Path(cache)

    def variants(
        self, texts: Sequence[str], *, progress: Callable[[int, int], object] | None = None
    ) -> list[str]:
        """One variant per text, in order; a text of which nothing comes back stands for itself.

        Stopped half-way, what was made is kept. Processes that ask at the same time take turns.

        Parameters
        ----------
        texts : sequence of str
            Any texts, also empty ones and those of several lines.
        progress : callable, optional
            Called with the number of different texts done, and of all.

        Raises
        ------
        InputError, FitError
            If something is no text, or a program or model is missing; if a translation fails.
        """
        for place, text in enumerate([None] if isinstance(texts, str) else texts):
            if not isinstance(text, str):
                raise InputError(
                    f"texts must be a list of str, got {text!r} at place {place}; drop the row or make it ''"
                )
        # Texts of one length go together, so that little of a batch is padding.
        wanted = {_digest(text): text for text in sorted(set(texts), key=lambda text: (len(text), text))}
        pair = _digest(f"{_FORMAT}\n{self.there.name}\n{self.back.name}")[:16]
        kept = _Kept(self._folder / f"translations-{pair}.txt", wanted)
        kept.read()
        lacking = [key for key in wanted if key not in kept.found]
        for start in range(0, len(lacking), _CHUNK):
            with kept.locked():
                kept.read()  # another process may have been here
                keys = [key for key in lacking[start : start + _CHUNK] if key not in kept.found]
                kept.add(dict(zip(keys, self._there_and_back([wanted[key] for key in keys]), strict=True)))
            if progress:
                progress(len(wanted) - max(len(lacking) - start - _CHUNK, 0), len(wanted))
        return [kept.found[_digest(text)] for text in texts]

    def _there_and_back(self, texts: list[str]) -> list[str]:
        made = self.back.translate(self.there.translate(texts)) if texts else []
        return [variant if variant.strip() else text for variant, text in zip(made, texts, strict=True)]


def _digest(text: str, more: bytes = b"") -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass") + more).hexdigest()


class _Kept:
    """Variants in a file that is only ever added to: lines of key, checksum and variant as JSON."""

    def __init__(self, path: Path, wanted: Collection[str]) -> None:
        self.found: dict[str, str] = {}
        self._path, self._wanted, self._place = path, wanted, 0

    def read(self) -> None:
        """Take in the lines added since; those that were torn or changed fail their checksum."""
        added = b""
        with suppress(OSError), self._path.open("rb") as file:
            file.seek(self._place)
            added = file.read()
        added = added[: added.rfind(b"\n") + 1]  # another process may be writing the rest
        self._place += len(added)
        for line in added.split(b"\n"):
            key, check, variant = line[:64].decode("ascii", "replace"), line[64:80], line[80:]
            if key in self._wanted and check == _digest(key, variant)[:16].encode():
                self.found[key] = json.loads(variant)

    def add(self, made: dict[str, str]) -> None:
        """Keep these too; a disk that takes no more is done without."""
        self.found |= made
        lines = [b""]  # ends a line that was torn
        for key, text in made.items():
            variant = json.dumps(text).encode()
            lines.append(f"{key}{_digest(key, variant)[:16]}".encode() + variant)
        with suppress(OSError), self._path.open("ab") as file:
            file.write(b"\n".join([*lines, b""]))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from translating the same texts meanwhile."""
        with ExitStack() as stack:
            with suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(filelock.FileLock(f"{self._path}.lock"))
            yield


def by_pieces(texts: Sequence[str], most: int, translate: Callable[[list[str]], list[str]]) -> list[str]:
    """Texts translated line by line, long lines in pieces of at most so many characters; what has no letter stays.

    Parameters
    ----------
    texts : sequence of str
        Any texts.
    most : int
        Characters of a piece.
    translate : callable
        From different pieces of text to as many translations; called once at most.

    Examples
    --------
    >>> by_pieces(["a film", "12"], 100, lambda pieces: [piece.upper() for piece in pieces])
    ['A FILM', '12']
    """
    plans = []
    for text in texts:
        clean = _CONTROL.sub(" ", text.encode("utf-8", "replace").decode())
        lines = [" ".join(line.split()) for line in re.split(r"\r\n|\r|\n", clean)]
        plans.append([textwrap.wrap(line, most, break_on_hyphens=False) for line in lines])
    pieces = dict.fromkeys(piece for plan in plans for line in plan for piece in line)
    speaking = [piece for piece in pieces if any(character.isalpha() for character in piece)]
    said = dict(zip(speaking, translate(speaking) if speaking else [], strict=True))
    return ["\n".join(" ".join(said.get(p, p) for p in line) for line in plan) for plan in plans]


@dataclass(frozen=True)
class Apertium:
    """Translation by rules and dictionaries: the program ``apertium``, once over many texts.

    Parameters
    ----------
    mode : str
        From which language to which, as ``apertium -l`` lists them: "eng-spa".
    batch_characters : int, default 2000
        What one run of the program gets, about, from 100. More is faster, but Apertium's tagger goes astray in long input: of 50,000
        characters, one sentence in ten comes out otherwise than it does alone; of 2000, one in a hundred.
    timeout_s : float, default 60
        Seconds that one run may take.
    """

    mode: str
    batch_characters: int = 2000
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if not _MODE.fullmatch(self.mode):
            raise InputError(
                f"the mode of Apertium must be two codes of languages such as 'eng-spa', got {self.mode!r}; 'apertium -l' lists those installed"
            )
        check_number("batch_characters", self.batch_characters, 100, 10_000_000)
        check_number("timeout_s", self.timeout_s, 0, 86_400, open_low=True)

    def check(self) -> None:
        """Raise `InputError` where the program is missing or does not have the mode; asks it, and translates nothing."""
        modes = self._run(["-l"], "").split()
        if self.mode not in modes:
            raise InputError(
                f"the mode of Apertium must be one that is installed ({', '.join(modes) or 'there is none'}), got {self.mode!r}{did_you_mean(self.mode, modes)}; 'apt search apertium-' lists more to install"
            )

    @cached_property
    def name(self) -> str:
        """Version, mode and size of a run; asks the program, which must have the mode."""
        self.check()
        return f"{self._run(['-V'], '').strip()} {self.mode} {self.batch_characters}"

    def translate(self, texts: Sequence[str]) -> list[str]:
        """See `Translator`: unknown words and line ends stay, other white space becomes one space."""
        return by_pieces(texts, self.batch_characters, self._translate_lines)

    def _translate_lines(self, lines: list[str]) -> list[str]:
        ends = zip(accumulate(map(len, lines)), lines, strict=True)
        runs = groupby(ends, key=lambda pair: pair[0] // int(self.batch_characters))
        return [said for _, run in runs for said in self._translate_group([line for _, line in run])]

    def _translate_group(self, lines: list[str]) -> list[str]:
        # Apertium ends a sentence at an empty line, so none is read into the next.
        stream = self._run(["-u", self.mode], "\n\n".join([*lines, ""]))
        said = [" ".join(paragraph.split()) for paragraph in stream.split("\n\n")]
        if len(lines) == 1:
            return [" ".join(said).strip()]
        if len(said) == len(lines) + 1:
            return said[:-1]
        return [alone for line in lines for alone in self._translate_group([line])]

    def _run(self, options: list[str], text: str) -> str:
        program = shutil.which("apertium")
        if program is None:
            raise InputError(
                f"the translation 'apertium:{self.mode}' needs the program 'apertium', which is not on PATH; install it with 'apt install apertium apertium-eng-spa', or use 'marian:THERE,BACK'"
            )
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        # A session of its own: the program is a pipeline of ten, to be ended together.
        with subprocess.Popen([program, *options], **pipes, start_new_session=True) as process:
            try:
                out, err = process.communicate(text.encode(), self.timeout_s)
            except BaseException as error:
                os.killpg(process.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise FitError(
                        f"apertium must answer within timeout_s={self.timeout_s:g} seconds, but did not for text that begins with {text[:60]!r}; give it longer or fewer batch_characters"
                    ) from error
                raise
        if process.returncode:
            raise FitError(
                f"apertium {' '.join(options)} must end well, but ended with status {process.returncode} ({err.decode(errors='replace').strip()[-300:]!r}) on text that begins with {text[:60]!r}; leave that text out, or install apertium anew"
            )
        return out.decode("utf-8", "replace")


def read_translation(spec: str, *, cache: str | Path | None = None, device: str = "cpu") -> BackTranslation:
    """The back translation that a line of a recipe names.

    Parameters
    ----------
    spec : str
        "apertium:eng-spa", back by the same mode turned round; "apertium:THERE,BACK", two modes; or "marian:THERE,BACK", two models.
    cache, device
        As in `BackTranslation` and `Marian`.

    Raises
    ------
    InputError
        If it is of no such form.

    Examples
    --------
    >>> read_translation("apertium:eng-spa").back.mode
    'spa-eng'
    """
    there, back = _ways(spec, device)
    return BackTranslation(there, back, cache=cache)


def check_translation(spec: str) -> None:
    """Raise `InputError` unless a line of a recipe names a back translation that can be made on this machine.

    Programs, modes, packages and folders are looked for; nothing is loaded, downloaded or translated.

    Parameters
    ----------
    spec : str
        As in `read_translation`.

    Examples
    --------
    >>> check_translation("apertium:english")
    Traceback (most recent call last):
        ...
    heldout.check.InputError: the mode of Apertium must be two codes of languages such as 'eng-spa', got 'english'; 'apertium -l' lists those installed
    """
    for way in _ways(spec, "cpu"):
        way.check()


def _ways(spec: str, device: str) -> "tuple[Apertium | Marian, Apertium | Marian]":
    from heldout.augment.marian import Marian  # noqa: PLC0415 - it builds on this module

    kind, _, rest = spec.strip().partition(":")
    parts = [part.strip() for part in rest.split(",")]
    if kind == "apertium" and len(parts) == 1:
        parts.append("-".join(reversed(parts[0].split("-"))))
    if kind not in ("apertium", "marian") or len(parts) != 2 or not all(parts):
        raise InputError(f"back_translation must be one of {_SPECS}, got {spec!r}")
    make: Callable[[str], Apertium | Marian] = (
        Apertium if kind == "apertium" else partial(Marian, device=device)
    )
    return make(parts[0]), make(parts[1])
