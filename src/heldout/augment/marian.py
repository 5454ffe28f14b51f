"""Translation by neural models: those of OPUS-MT, and others of the Marian architecture, run by ``transformers``."""

import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError

from heldout.augment.translate import by_pieces
from heldout.check import InputError, check_number

_WEIGHTS = (".safetensors", ".bin")
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError, UnpicklingError)
_ON_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?")  # what can be a name there


@dataclass(frozen=True)
class Marian:
    """Translation by a Marian model, such as those of OPUS-MT (Tiedemann & Thottingal 2020): greedy or beam search, on batches of similar length; no code of the model's is run.

    Parameters
    ----------
    model : str or path
        Folder that holds ``config.json``, ``source.spm``, ``target.spm``, ``vocab.json`` and ``model.safetensors`` (or
        ``pytorch_model.bin``), or a name on the Hugging Face hub, "Helsinki-NLP/opus-mt-en-es", which is downloaded once.
    batch_size : int, default 32
        Pieces of text at a time, from 1; fewer take less memory.
    num_beams : int, default 1
        Beams of the search, from 1 to 16; 1 is greedy, and as many times faster.
    max_length : int, default 256
        Tokens of a piece, from 8. Lines of as many characters or more are cut between words, so that nothing is lost.
    device : str, default "cpu"
        Where the model runs, "cuda" for instance.
    """

    model: str | Path
    batch_size: int = 32
    num_beams: int = 1
    max_length: int = 256
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_number("batch_size", self.batch_size, 1, 100_000)
        check_number("num_beams", self.num_beams, 1, 16)
        check_number("max_length", self.max_length, 8, 100_000)

    def check(self) -> None:
        """Raise `InputError` where a package or the folder of the model is missing; nothing is loaded or downloaded."""
        for package in ("sentencepiece", "transformers"):
            if find_spec(package) is None:
                raise _lacking(package)
        folder = Path(self.model)
        if not folder.is_dir() and not _ON_HUB.fullmatch(str(self.model)):
            raise _not_had(self.model, "there is no such folder")
        if folder.is_dir() and not (folder / "config.json").is_file():
            raise _no_model(folder, "there is no config.json")

    @cached_property
    def name(self) -> str:
        """The model, the state of its files, and the options of the search."""
        files = [
            path for path in sorted(self._folder.iterdir()) if path.suffix in (".json", ".spm", *_WEIGHTS)
        ]
        state = [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
        return "\n".join(["marian", f"{self._folder.resolve()} {self.num_beams} {self.max_length}", *state])

    def translate(self, texts: Sequence[str]) -> list[str]:
        """See `Translator`: line ends stay, other white space becomes one space."""
        # A piece has no more tokens than characters, but for one at its start and one at its end.
        return by_pieces(texts, self._loaded[2] - 2, self._translate_pieces)

    def _translate_pieces(self, pieces: list[str]) -> list[str]:
        model, tokenizer, most = self._loaded
        said: dict[str, str] = {}
        order = sorted(pieces, key=len)
        for start in range(0, len(order), int(self.batch_size)):
            some = order[start : start + int(self.batch_size)]
            batch = tokenizer(some, return_tensors="pt", padding=True, truncation=True, max_length=most)
            with torch.inference_mode():
                tokens = model.generate(
                    **batch.to(self.device), num_beams=int(self.num_beams), do_sample=False, max_length=most
                )
            made = tokenizer.batch_decode(tokens, skip_special_tokens=True)
            said |= {piece: " ".join(text.split()) for piece, text in zip(some, made, strict=True)}
        return [said[piece] for piece in pieces]

    @cached_property
    def _folder(self) -> Path:
        """Where the model lies; one of the hub is downloaded the first time."""
        if Path(self.model).is_dir():
            return Path(self.model)
        hub, kinds = _package("huggingface_hub"), ["*.json", "*.spm"]
        try:
            folder = Path(
                hub.snapshot_download(str(self.model), allow_patterns=[*kinds, "model.safetensors"])
            )
            if not (folder / "model.safetensors").is_file():
                hub.snapshot_download(str(self.model), allow_patterns=[*kinds, "pytorch_model.bin"])
        except (OSError, ValueError) as error:
            raise _not_had(self.model, str(error)) from error
        return folder

    @cached_property
    def _loaded(self) -> tuple[Any, Any, int]:
        """The model, ready to translate, its tokenizer, and the most tokens that a piece may have."""
        _package("sentencepiece")
        transformers = _package("transformers")
        options = {"local_files_only": True, "trust_remote_code": False}
        try:
            kind = json.loads((self._folder / "config.json").read_bytes()).get("model_type")
            if kind != "marian":
                raise ValueError(f"the model_type is {kind!r}")
            with warnings.catch_warnings():  # what sacremoses would do takes no part in translation
                warnings.filterwarnings("ignore", "Recommended: pip install sacremoses")
                tokenizer = transformers.MarianTokenizer.from_pretrained(self._folder, **options)
            model, info = transformers.MarianMTModel.from_pretrained(
                self._folder, dtype=torch.float32, weights_only=True, output_loading_info=True, **options
            )
            if info["missing_keys"]:
                raise ValueError(f"the weights lack {sorted(info['missing_keys'])[:3]}")
        except _UNREADABLE as error:
            raise _no_model(self._folder, f"{type(error).__name__}: {error}") from error
        most = min(int(self.max_length), model.config.max_position_embeddings)
        return model.eval().to(self.device), tokenizer, most


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise _lacking(name) from error


def _lacking(package: str) -> InputError:
    return InputError(
        f"the translation 'marian:THERE,BACK' needs the package {package!r}, which is not installed; run \"pip install 'heldout[translate]'\", or use 'apertium:eng-spa'"
    )


def _not_had(model: str | Path, why: str) -> InputError:
    return InputError(
        f"a Marian model must be a folder or a name on the Hugging Face hub such as 'Helsinki-NLP/opus-mt-en-es', but {str(model)!r} could not be had ({why[:200]!r}); check the name and the connection"
    )


def _no_model(folder: Path, why: str) -> InputError:
    return InputError(
        f"{folder}: must hold a Marian model (config.json, source.spm, target.spm, vocab.json, model.safetensors or pytorch_model.bin), but cannot be read as one ({why[:200]!r}); download it anew, or name another"
    )
