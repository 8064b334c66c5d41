"""What the commands' options are called, and how what is typed after them is understood."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_sam2.session.exchange import FORMATS, MOVIE
from napari_sam2.session.overlay import TINT, MovieStyle
from napari_sam2.session.settings import SessionSettings, Window
from sam2_backbone.training.command import device_name
from sam2_backbone.variants import list_variants

_NUMBERS = ("--range", "--point", "--negative", "--box")


@dataclass
class Said:
    """The prompts of one object on the command line, in their order."""

    points: list[tuple[float, ...]] = field(default_factory=list)
    signs: list[int] = field(default_factory=list)
    box: tuple[float, ...] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said yet."""
        return not self.points and self.box is None


class Say(argparse.Action):
    """Collects points and boxes of one object after the other."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        said: list[Said] = getattr(namespace, self.dest) or [Said()]
        setattr(namespace, self.dest, said)
        if option_string == "--and":
            if said[-1].is_empty:
                parser.error("--and begins the next object: give the one before it a prompt first")
            said.append(Said())
        elif option_string == "--box":
            if said[-1].box is not None:
                parser.error("an object has one --box: write --and before the next object's")
            said[-1].box = values
        else:
            said[-1].points.append(values)
            said[-1].signs.append(int(option_string == "--point"))


def numbers(names: str) -> Callable[[str], tuple[float, ...]]:
    """Return what reads as many numbers as there are names, such as ``X,Y``."""

    def parse(text: str) -> tuple[float, ...]:
        try:
            values = tuple(float(part) for part in text.split(","))
        except ValueError:
            values = ()
        if len(values) != len(names.split(",")):
            raise argparse.ArgumentTypeError(f"expected {names} such as 105,80, got {text!r}")
        return values

    return parse


def _window(text: str) -> Window:
    if text in ("auto", "none"):
        return "auto" if text == "auto" else None
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected auto, none or a number of pixels, got {text!r}")


def _rate(text: str) -> float:
    try:
        rate = float(text)
        MovieStyle(frames_per_second=rate)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return rate


@dataclass(frozen=True)
class Shared:
    """Options that several commands have."""

    debug: argparse.ArgumentParser
    model: argparse.ArgumentParser
    window: argparse.ArgumentParser
    contrast: argparse.ArgumentParser
    output: argparse.ArgumentParser
    target: argparse.ArgumentParser
    exchange: argparse.ArgumentParser
    facts: argparse.ArgumentParser


def _model_options() -> argparse.ArgumentParser:
    model = argparse.ArgumentParser(add_help=False)
    group = model.add_argument_group("model")
    group.add_argument(
        "--variant",
        choices=list_variants(),
        metavar="NAME",
        help="the network, see `napari-sam2 models`; micro, which is embedded, if not given",
    )
    group.add_argument(
        "--weights",
        metavar="FILE",
        help="a checkpoint of your own, .pt or .safetensors; without --variant it is recognised",
    )
    group.add_argument(
        "--device", type=device_name, default="auto", help="auto, cpu, cuda, cuda:1, mps (auto)"
    )
    group.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="precision; auto: bfloat16 where the device computes it natively",
    )
    return model


def shared_options() -> Shared:
    """Return the options that several commands have, as parents of their parsers."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show the traceback of an error")
    model = _model_options()
    window = argparse.ArgumentParser(add_help=False)
    window.add_argument(
        "--window",
        type=_window,
        default="auto",
        metavar="SIDE",
        help="part of the frame the model looks at: auto, none (all of it), or pixels",
    )
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    target = argparse.ArgumentParser(add_help=False, parents=[output])
    target.add_argument("-o", "--out", type=Path, metavar="FILE", help="labels, .tif or .zarr")
    exchange = argparse.ArgumentParser(add_help=False)
    exchange.add_argument(
        "--format",
        choices=tuple(FORMATS),
        metavar="FORMAT",
        help=f"write for another program instead, --out names that file or folder: "
        f"{', '.join(f'{row.name} ({row.title})' for row in FORMATS.values())}",
    )
    exchange.add_argument(
        "--fps", type=_rate, metavar="N", help="frames a second of --format movie (10)"
    )
    exchange.add_argument(
        "--fill", action="store_true", help="in --format movie, tint objects inside their outlines"
    )
    facts = argparse.ArgumentParser(add_help=False, parents=[output])
    facts.add_argument(
        "--variant", choices=list_variants(), metavar="NAME", help="say it of this network only"
    )
    facts.add_argument(
        "--device", type=device_name, default="auto", help="auto, cpu, cuda, cuda:1, mps (auto)"
    )
    facts.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help="a text file for what is printed"
    )
    contrast = argparse.ArgumentParser(add_help=False)
    contrast.add_argument(
        "--range",
        dest="value_range",
        type=numbers("LOW,HIGH"),
        metavar="LOW,HIGH",
        help="intensities shown to the model as black and white",
    )
    return Shared(
        debug=shared,
        model=model,
        window=window,
        contrast=contrast,
        output=output,
        target=target,
        exchange=exchange,
        facts=facts,
    )


def with_signs(arguments: Sequence[str]) -> list[str]:
    """Join numbers that begin with a minus to their option: alone they look like another one."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in _NUMBERS and re.match(r"-[\d.]", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def settings_of(chosen: argparse.Namespace) -> SessionSettings:
    """Return the settings that the options of a model ask for."""
    variant = chosen.variant or (None if chosen.weights else "micro")
    return SessionSettings(
        variant=variant,
        weights=chosen.weights or "default",
        device=chosen.device,
        dtype=chosen.dtype,
        value_range=getattr(chosen, "value_range", None),
        window=getattr(chosen, "window", "auto"),
    )


def style_of(chosen: argparse.Namespace) -> MovieStyle | None:
    """Return how a movie is to look, None where nothing was said of one."""
    if chosen.format != MOVIE and chosen.fps is None and not chosen.fill:
        return None
    return MovieStyle(frames_per_second=chosen.fps, fill=TINT if chosen.fill else 0.0)
