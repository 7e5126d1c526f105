"""Typed configuration: YAML files and ``key=value`` overrides, checked by pydantic models.

An unknown key or a wrong type raises :class:`ConfigError`, whose text names the key, where it came from
and the nearest valid name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from anonymize.files import write_text_atomic


class ConfigError(ValueError):
    """A configuration that cannot be used. The message names key, source and remedy."""


class _Loader(yaml.SafeLoader):
    """YAML with the booleans of YAML 1.2: ``on``, ``off``, ``yes`` and ``no`` are words, as a reader expects."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


class Config(BaseModel):
    """Base of every configuration model: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, protected_namespaces=())


C = TypeVar("C", bound=Config)


def load_config(model: type[C], path: str | Path | None = None, overrides: Sequence[str] = ()) -> C:
    """Read ``path`` (YAML mapping, optional), apply ``a.b=value`` overrides (values are YAML), validate as ``model``.

    Raises:
        ConfigError: file missing or not a mapping, override without ``=``, unknown key, wrong type.
    """
    data: dict[str, Any] = {}
    source = {"": str(path) if path else "defaults"}
    if path is not None:
        data = read_yaml_mapping(Path(path))
    for item in overrides:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise ConfigError(f"'{item}' is not an override; write key=value, for example seed=1")
        try:
            parsed = yaml.load(value, _Loader) if value else None
        except yaml.YAMLError as error:
            raise ConfigError(f"the value of '{key}' on the command line is not valid YAML: {error}") from None
        _set_dotted(data, key, parsed)
        source[key] = "the command line"
    return validate(model, data, source)


def validate(model: type[C], data: Mapping[str, Any], source: str | Mapping[str, str] = "defaults") -> C:
    """Validate ``data`` as ``model``; ``source`` names where it came from (or per key, '' for the rest)."""
    places = {"": source} if isinstance(source, str) else dict(source)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [_explain(model, item, places) for item in error.errors()]
        raise ConfigError("\n".join(dict.fromkeys(lines))) from None


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such configuration file")
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must hold a mapping of keys to values, found a {type(data).__name__}")
    return data


def dump_config(config: BaseModel, path: Path) -> None:
    """Write the resolved configuration as YAML, atomically."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_text_atomic(path, text)


def _set_dotted(data: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for name in parents:
        child = data.setdefault(name, {})
        if not isinstance(child, dict):
            raise ConfigError(f"'{key}': '{name}' holds a single value, so it has no key '{last}'")
        data = child
    data[last] = value


def _explain(model: type[BaseModel], error: Any, places: Mapping[str, str]) -> str:
    location = [str(part) for part in error["loc"]]
    key = ".".join(location)
    matches = [name for name in places if name and (key == name or key.startswith(name + ".") or name.startswith(key))]
    place = places[max(matches, key=len)] if matches else places.get("", "defaults")
    if error["type"] == "extra_forbidden":
        valid = _fields_at(model, error["loc"][:-1])
        near = difflib.get_close_matches(location[-1], valid, n=1, cutoff=0.0)
        hint = f"; did you mean '{'.'.join([*location[:-1], near[0]])}'?" if near else ""
        return f"{place}: unknown key '{key}'{hint}"
    if error["type"] == "missing":
        return f"{place}: the key '{key}' is required and not given"
    return f"{place}: '{key}': {error['msg'][0].lower() + error['msg'][1:]} (got {error.get('input')!r})"


def _fields_at(model: type[BaseModel], location: Sequence[Any]) -> list[str]:
    """Names of the fields of the model nested at ``location``."""
    current: Any = model
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = _inner_model(current.model_fields[part].annotation)
    if isinstance(current, type) and issubclass(current, BaseModel):
        return list(current.model_fields)
    return []


def _inner_model(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner_model(argument)
        if found is not None:
            return found
    return None
