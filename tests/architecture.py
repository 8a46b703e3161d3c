"""The rules of the house as functions over a source tree: path -> violations. `test_architecture.py` runs them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "gen_searcher"

LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "types", "drawing", "web", "points", "abandoned", "context"}),
    frozenset({"protocols", "image_store", "config", "metrics"}),
    frozenset({"agent", "tools", "cassette", "ledger", "rewards", "grpo", "world"}),
    frozenset({"train", "infer", "bench", "data", "plan"}),
    frozenset({"engines"}),
    frozenset({"cluster"}),
    frozenset({"cli", "commands", "__main__"}),
)
"""From the bottom up. A part imports its own level and those below. `testing` and the package itself stand outside."""

APART = frozenset({("engines", "train"), ("engines", "infer"), ("engines", "bench"), ("cluster", "commands")})
"""(importer, imported): loops and adapters meet only in the commands, whatever their levels say."""

FREE = frozenset({"testing", "__init__"})
"""`testing` may import everything below the commands; the package's own `__init__` holds only the version."""

KIT_RUNNERS = frozenset({"commands/judge.py", "commands/generator_check.py"})
"""Commands that *are* the test kit: they run it on a plug-in author's class. Nothing else of the program imports it."""

HOMES: dict[str, tuple[str, ...]] = {
    "ray": ("cluster/",),
    "vllm": ("engines/",),
    "deepspeed": ("engines/",),
    "diffusers": ("engines/",),
    "transformers": ("engines/",),
    "torchvision": ("engines/",),
    "torch": ("engines/", "grpo/"),
    "safetensors": ("engines/",),
    "gguf": ("engines/gguf_file.py",),
    "tokenizers": ("agent/render.py", "engines/"),
    "aiohttp": ("tools/", "world/server.py", "rewards/", "testing/", "engines/hosted/"),
    "hydra": ("config/load.py",),
    "omegaconf": ("config/load.py",),
    "opentelemetry": ("metrics/traces/otlp.py",),
    "onnxruntime": ("rewards/offline/",),
    "rapidocr": ("rewards/offline/",),
}
"""Library -> where it may be imported, at any depth of a function."""

ENVIRONMENT_READER = "config/secrets.py"
ENVIRONMENT_WRITER = "engines/environment.py"
MAX_LINES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken rule."""

    path: str
    """Relative to the package."""
    line: int
    what: str

    def __str__(self) -> str:
        """As a compiler would say it."""
        return f"{self.path}:{self.line}: {self.what}"


def violations(package: Path) -> list[Violation]:
    """Everything wrong in the tree below `package`."""
    found: list[Violation] = []
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package).as_posix()
        text = path.read_text(encoding="utf-8")
        found += _file(relative, text)
        tree = ast.parse(text)
        found += _imports(relative, tree)
        found += _environment(relative, tree)
        found += _calls(relative, tree)
        if relative.startswith("cluster/actors/"):
            found += _actors(relative, tree)
    return found


def _file(path: str, text: str) -> Iterator[Violation]:
    lines = text.count("\n")
    if lines > MAX_LINES:
        yield Violation(path=path, line=MAX_LINES + 1, what=f"{lines} lines; a file has at most {MAX_LINES}")
    if any(part.removesuffix(".py").strip("_") in ("util", "utils", "helpers", "misc") for part in path.split("/")):
        yield Violation(path=path, line=1, what="name the file after what it does, not `utils`")


def _imports(path: str, tree: ast.Module) -> Iterator[Violation]:
    own = _part(path)
    for node in ast.walk(tree):
        for module in _imported(node):
            library = module.split(".")[0]
            homes = HOMES.get(library)
            if homes is not None and not path.startswith(homes):
                yield Violation(
                    path=path, line=_line(node), what=f"imports {library}, whose home is {', '.join(homes)}"
                )
            if library == PACKAGE and module != PACKAGE:
                yield from _layer(path, own, module.split(".")[1], _line(node))
        if isinstance(node, ast.ImportFrom) and node.level:
            yield Violation(path=path, line=node.lineno, what="relative import; write the full name")


def _layer(path: str, own: str, other: str, line: int) -> Iterator[Violation]:
    known = frozenset[str]().union(*LEVELS) | FREE
    for part in (own, other):
        if part not in known:
            yield Violation(path=path, line=line, what=f"{part!r} has no place in the table of layers")
            return
    if own == other or own in FREE:
        if own == "testing" and other in LEVELS[-1]:
            yield Violation(path=path, line=line, what=f"testing may not import {other}")
        return
    if other in FREE:
        if other == "testing" and path not in KIT_RUNNERS:
            yield Violation(path=path, line=line, what="the program may not import its test kit")
        return
    if _level(other) > _level(own) or (own, other) in APART:
        yield Violation(path=path, line=line, what=f"{own} may not import {other}")


def _environment(path: str, tree: ast.Module) -> Iterator[Violation]:
    """`os.environ` and `os.getenv` are read in one module and written in another."""
    if path == ENVIRONMENT_READER:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            for alias in node.names:
                if alias.name in ("environ", "getenv", "putenv"):
                    yield Violation(path=path, line=node.lineno, what=f"imports os.{alias.name}")
        if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"):
            continue
        if node.attr in ("getenv", "putenv", "environb") or (node.attr == "environ" and path != ENVIRONMENT_WRITER):
            yield Violation(path=path, line=node.lineno, what=f"uses os.{node.attr}; config/secrets.py reads secrets")


def _calls(path: str, tree: ast.Module) -> Iterator[Violation]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield Violation(path=path, line=node.lineno, what="print; use logging, or sys.stdout in a command")
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield Violation(path=path, line=node.lineno, what="bare except")


def _actors(path: str, tree: ast.Module) -> Iterator[Violation]:
    """Actors carry, they do not decide: no branching in a method."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        for method in node.body:
            if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and method.name != "__init__":
                for inner in ast.walk(method):
                    if isinstance(inner, ast.If | ast.IfExp | ast.Match):
                        yield Violation(path=path, line=inner.lineno, what=f"{node.name}.{method.name} branches")


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level and node.module:
        if node.module == PACKAGE:
            return [f"{PACKAGE}.{alias.name}" for alias in node.names if not alias.name.startswith("__")]
        return [node.module]
    return []


def _part(path: str) -> str:
    return path.split("/")[0].removesuffix(".py")


def _level(part: str) -> int:
    return next(index for index, names in enumerate(LEVELS) if part in names)


def _line(node: ast.AST) -> int:
    return node.lineno if isinstance(node, ast.Import | ast.ImportFrom) else 1
