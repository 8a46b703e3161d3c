"""An image built without a container engine: the steps of a Dockerfile carried out on a clean root, then the image run."""

from __future__ import annotations

import ast
import fnmatch
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template
from urllib.parse import unquote, urlparse

from tests.launch.clean_root import ROOT, command
from tests.launch.dockerfile import Stage, Step

STEP_S = 3000.0
PATH = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""As the base images of Python have it."""

Done = subprocess.CompletedProcess[str]


class StepFailed(Exception):
    """A step ended with an error; the message has its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages:
    """How pip of this machine finds packages, for a root that has no settings of its own."""

    settings: dict[str, str]
    """PIP_NAME → value."""
    shown: tuple[Path, ...]
    """What they name of this machine's files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What has been built so far."""

    root: Path
    environment: dict[str, str]
    """Of the finished image, and of its RUN steps."""
    arguments: dict[str, str]
    """Of its RUN steps alone."""
    user: str = ROOT
    folder: str = "/"
    entry: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def run(self, *words: str, timeout_s: float) -> Done:
        """Like `docker run --network none IMAGE WORDS`; without words, what the image does by itself."""
        return command(
            self.root,
            [*self.entry, *(words or self.words)],
            environment=self.environment,
            user=self.user,
            folder=self.folder,
            has_network=False,
            timeout_s=timeout_s,
        )


def build(stages: Sequence[Stage], *, base: Path, context: Path, folder: Path, packages: Packages) -> Image:
    """The last stage, after those before it.

    Args:
        stages: As they were read.
        base: The root of the image that they all begin with; it stays as it is.
        context: What COPY copies from, less what its .dockerignore names.
        folder: Empty; on the file system of `base`. Each stage gets a folder in it, and stages share what they copy.
        packages: What `pip` in a RUN is told.

    Raises:
        StepFailed: A RUN ended with an error.
    """
    ignored = (context / ".dockerignore").read_text().split()
    built: dict[str, Image] = {}
    for number, stage in enumerate(stages):
        root = folder / str(number)
        subprocess.run(["cp", "-a", str(base), str(root)], check=True)
        image = Image(root=root, environment=dict(PATH), arguments={})
        for step in stage.steps:
            image = _after(step, image, context=context, ignored=ignored, built=built, packages=packages)
        built[stage.name] = image
    return list(built.values())[-1]


def packages_of_this_machine() -> Packages:
    """As pip itself says."""
    pip = [sys.executable, "-m", "pip", "config", "list"]
    return packages_of(subprocess.run(pip, capture_output=True, text=True, check=True).stdout)


def packages_of(listing: str) -> Packages:
    """What a `pip config list` says. Of an index in a folder the folder above it is shown: its pages link to files there."""
    # The environment stands above the files.
    lines = sorted(listing.splitlines(), key=lambda line: line.startswith(":env:"))
    said = [line.partition("=") for line in lines]
    settings = {f"PIP_{_name(key)}": str(ast.literal_eval(value)) for key, _, value in said}
    shown: set[Path] = set()
    for word in " ".join(settings.values()).split():
        url = urlparse(word)
        if url.scheme == "file":
            shown.add(Path(unquote(url.path)).parent)
        elif word.startswith("/"):
            shown.add(Path(word))
    return Packages(settings=settings, shown=tuple(sorted(path for path in shown if path.exists())))


def _name(key: str) -> str:
    return key.removeprefix(":env:").rpartition(".")[2].replace("-", "_").upper()


def _after(
    step: Step, image: Image, *, context: Path, ignored: Sequence[str], built: Mapping[str, Image], packages: Packages
) -> Image:
    """What the image is after one step; files change below its root."""
    match step.word:
        case "ARG":
            return replace(image, arguments={**image.arguments, **step.pairs})
        case "ENV":
            known = image.environment
            return replace(
                image, environment={**known, **{k: Template(v).substitute(known) for k, v in step.pairs.items()}}
            )
        case "USER":
            return replace(image, user=step.rest)
        case "WORKDIR":
            (image.root / step.rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            return replace(image, folder=step.rest)
        case "ENTRYPOINT":
            return replace(image, entry=tuple(json.loads(step.rest)))
        case "CMD":
            return replace(image, words=tuple(json.loads(step.rest)))
        case "COPY":
            _copy(shlex.split(step.rest), image, context=context, ignored=ignored, built=built)
        case "RUN":
            _run(step.rest, image, packages)
    return image  # VOLUME: the folder is there


def _run(line: str, image: Image, packages: Packages) -> None:
    done = command(
        image.root,
        ["/bin/sh", "-c", line],
        environment={**packages.settings, **image.environment, **image.arguments},
        user=image.user,
        folder=image.folder,
        shown=packages.shown,
        timeout_s=STEP_S,
    )
    if done.returncode:
        raise StepFailed(f"RUN {line}\nended with {done.returncode}: {done.stdout[-1000:]}{done.stderr[-3000:]}")


def _copy(
    words: Sequence[str], image: Image, *, context: Path, ignored: Sequence[str], built: Mapping[str, Image]
) -> None:
    """The contents of a folder, or files into a folder; from an earlier stage by links, which take no room."""
    *sources, target = words
    to = image.root / Path(image.folder, target).as_posix().lstrip("/")
    if sources[0].startswith("--from="):
        (name, source) = sources[0].removeprefix("--from="), sources[1].lstrip("/")
        subprocess.run(["cp", "-al", str(built[name].root / source), str(to)], check=True)
        return
    for source in (context / source for source in sources):
        if source.is_dir():
            shutil.copytree(source, to, dirs_exist_ok=True, ignore=ignoring(context, ignored))
        else:
            file = to / source.name if target.endswith("/") else to
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, file)


def ignoring(context: Path, patterns: Sequence[str]) -> Callable[[str, list[str]], set[str]]:
    """`**/NAME` in any folder, NAME at the top: the two forms that our .dockerignore has."""

    def ignore(folder: str, names: list[str]) -> set[str]:
        here = Path(folder).relative_to(context)
        return {
            name
            for name in names
            for pattern in patterns
            if fnmatch.fnmatch(name, pattern.removeprefix("**/")) and (pattern.startswith("**/") or here == Path())
        }

    return ignore
