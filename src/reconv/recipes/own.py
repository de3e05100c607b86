"""A recipe of one's own by name: `package.module:Class`, or `folder/file.py:Class`.

The module is looked for among the installed packages and in the folder that the program was started in; what a file
imports also beside it. Importing it runs it, as any import does.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from reconv.errors import InputError, one_line
from reconv.recipes.recipe import Recipe

__all__ = ["own_recipe"]


def own_recipe(text: str) -> type[Recipe]:
    """The class that `text` names, checked: whole, and derived from `Recipe`.

    Raises:
        InputError: no such module, file or class, the module fails when it is imported, or the class is no recipe.
    """
    where, _, name = text.rpartition(":")
    if not where or not name.isidentifier():
        raise InputError(f"recipe {text!r}: expected module:Class or file.py:Class")
    module = _imported(where, text)
    found = getattr(module, name, None)
    if found is None:
        kinds = [n for n, value in vars(module).items() if inspect.isclass(value) and issubclass(value, Recipe)]
        has = f"its recipes are {', '.join(kinds)}" if kinds else "it has no recipes"
        raise InputError(f"recipe {text}: {where} has no class {name}; {has}")
    if not (inspect.isclass(found) and issubclass(found, Recipe)):
        raise InputError(f"recipe {text}: {name} is not a class derived from reconv.Recipe")
    lacking = sorted(found.__abstractmethods__)
    lacking += [attribute for attribute in ("name", *["pixels"] * found.pictures) if not hasattr(found, attribute)]
    if lacking:
        raise InputError(f"recipe {text}: class {name} lacks {', '.join(lacking)}")
    return found


def _imported(where: str, text: str) -> ModuleType:
    path = Path(where)
    if path.suffix == ".py" and not path.is_file():
        raise InputError(f"recipe {text}: no such file: {where}")
    try:
        if path.suffix == ".py":
            return _from_file(path.resolve())
        with _looking_in(Path.cwd()):
            return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name and f"{where}.".startswith(f"{error.name}."):
            raise InputError(f"recipe {text}: there is no module {error.name}, neither installed nor here") from error
        raise InputError(f"recipe {text}: {where} cannot be imported: {one_line(error)}") from error
    except (Exception, SystemExit) as error:  # whatever a user's module may raise
        told = f"{type(error).__name__}: {one_line(error)}"
        raise InputError(f"recipe {text}: {where} cannot be imported: {told}") from error


def _from_file(path: Path) -> ModuleType:
    key = f"reconv own recipe {path}"  # no import statement can name it
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(key, path)
    assert spec is not None  # as the suffix is .py
    assert spec.loader is not None
    module = sys.modules[key] = importlib.util.module_from_spec(spec)  # dataclasses look for it there
    try:
        with _looking_in(path.parent):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[key]
        raise
    return module


@contextmanager
def _looking_in(folder: Path) -> Iterator[None]:
    """Imports inside also look in the folder, as those of a script do."""
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
