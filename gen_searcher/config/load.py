"""YAML + overrides -> Hydra -> plain values -> pydantic -> `RunConfig`. A DictConfig never leaves this file."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import JsonValue, ValidationError

from gen_searcher.config.explain import explain
from gen_searcher.config.root import RunConfig
from gen_searcher.config.secrets import is_pasted
from gen_searcher.errors import ConfigError

PACKAGE = Path(__file__).resolve().parent.parent


def conf_dir() -> Path:
    """The shipped configuration: inside an installed package, or beside it in a checkout."""
    for candidate in (PACKAGE / "conf", PACKAGE.parent / "conf"):
        if (candidate / "config.yaml").is_file():
            return candidate
    raise ConfigError(
        f"the shipped configuration is missing: no config.yaml in {PACKAGE / 'conf'}; reinstall gen_searcher"
    )


def load(overrides: Sequence[str] = (), *, config_dir: Path | None = None) -> RunConfig:
    """Compose and validate the configuration of a run.

    Args:
        overrides: `key=value` as in Hydra; a key that names a group (`experiment`, `generator`, ...) picks a file.
        config_dir: A folder of your own YAML files, searched beside the shipped ones.

    Raises:
        ConfigError: Everything that is wrong with the configuration, on one screen.
    """
    values = compose_values(overrides, config_dir=config_dir)
    try:
        cfg = RunConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explain(error, RunConfig)) from None
    _refuse_pasted(cfg)
    return cfg


def dump_yaml(cfg: RunConfig) -> str:
    """The resolved configuration; loading it again gives the same. Secrets stay references."""
    return yaml.safe_dump(cfg.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def write(cfg: RunConfig, *, command: str) -> Path:
    """Keep the resolved configuration in the run directory, under the command's name."""
    path = written(cfg.run_dir, command=command)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(dump_yaml(cfg), encoding="utf-8")
    part.replace(path)
    return path


def written(run_dir: Path, *, command: str) -> Path:
    """Where `write` keeps it: the settings of the command's last start."""
    return run_dir / "config" / f"{command}.yaml"


def read(text: str, *, source: str) -> RunConfig:
    """A resolved configuration as `dump_yaml` wrote it.

    Args:
        text: YAML.
        source: Where it comes from, for the message.

    Raises:
        ConfigError: It is not one that this version understands.
    """
    try:
        return RunConfig.model_validate(yaml.safe_load(text))
    except RecursionError:
        raise ConfigError(f"{source}: not a configuration; it is nested without end") from None
    except (ValueError, yaml.YAMLError) as error:  # YAML's numbers and dates are Python's, which refuses some as values
        problem = explain(error, RunConfig) if isinstance(error, ValidationError) else str(error)
        raise ConfigError(f"{source}: not a configuration that this version reads\n{problem}") from None


def compose_values(overrides: Sequence[str] = (), *, config_dir: Path | None = None) -> dict[str, object]:
    """What Hydra makes of the files and the overrides, before validation."""
    shipped = conf_dir()
    folders = [shipped]
    if config_dir is not None:
        if not config_dir.is_dir():
            raise ConfigError(f"--config-dir: {config_dir} is not a folder")
        folders.insert(0, config_dir.resolve())
    arguments = [_addressed(override, folders) for override in overrides]
    if config_dir is not None:
        arguments.append(f"hydra.searchpath=[file://{config_dir.resolve()}]")
    try:
        with initialize_config_dir(config_dir=str(shipped), version_base="1.3"):
            composed = compose(config_name="config", overrides=arguments)
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key or 'the configuration'}: must be set, e.g. {error.full_key}=...") from None
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'the configuration'}: {_first_line(error)}") from None
    except HydraException as error:
        raise ConfigError(_composition_problem(error, folders)) from None
    return cast("dict[str, object]", plain)


def groups(folders: Sequence[Path] | None = None) -> dict[str, list[str]]:
    """Every config group and its choices."""
    found: dict[str, set[str]] = {}
    for folder in folders or [conf_dir()]:
        for path in folder.glob("*/*.yaml"):
            found.setdefault(path.parent.name, set()).add(path.stem)
    return {group: sorted(names) for group, names in sorted(found.items())}


def _refuse_pasted(cfg: RunConfig) -> None:
    """The configuration is written down, shown and sent to workers: no key may stand in it."""
    pasted = [key for key, value in flat(cfg).items() if isinstance(value, str) and is_pasted(key, value)]
    if pasted:
        raise ConfigError(
            "\n".join(
                f"{key}: holds a key or a password itself; write env:NAME or file:/path in a setting for keys, and "
                "addresses without user, password or key"
                for key in pasted
            )
        )


def _addressed(override: str, folders: Sequence[Path]) -> str:
    """Let `a.b=c` set a value that no YAML mentions: the defaults live in Python, and pydantic knows every key."""
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException as error:
        raise ConfigError(f"cannot read the override {override!r}: {_first_line(error)}; write key=value") from None
    if parsed.is_sweep_override():
        raise ConfigError(
            f"{override!r} is a sweep; one run has one value, start one run per value with its own run_dir"
        )
    is_group = parsed.key_or_group in groups(folders) and not isinstance(parsed.value(), dict)
    if is_group or parsed.type is not OverrideType.CHANGE:
        return override
    return f"++{override}"


def _composition_problem(error: HydraException, folders: Sequence[Path]) -> str:
    known = groups(folders)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.removesuffix(".yaml").rpartition("/")
        names = known.get(group, [])
        close = difflib.get_close_matches(name, names, n=1)
        meant = f"; did you mean {group}={close[0]}?" if close else ""
        return f"{group}={name}: there is no such file; {group} has {', '.join(names) or 'none'}{meant}"
    choices = "\n".join(f"  {group}: {', '.join(names)}" for group, names in known.items())
    return f"{_first_line(error)}\ngroups and their files:\n{choices}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def flat(cfg: RunConfig) -> dict[str, JsonValue]:
    """Every setting by its dotted key; secrets stay references."""
    return dict(leaves("", cast("JsonValue", cfg.model_dump(mode="json"))))


def leaves(key: str, value: JsonValue) -> list[tuple[str, JsonValue]]:
    """Everything below `key` by its dotted key; an empty mapping is a leaf."""
    if not isinstance(value, dict) or not value:
        return [(key, value)]
    return [leaf for name, below in value.items() for leaf in leaves(f"{key}.{name}" if key else name, below)]
