"""Builds the compiled form of the one pass (wexport/stats/compiled_source) into the wheel, where there is a C compiler.

Without one the wheel is pure Python, and NumPy does the work. WEXPORT_BUILD=compiled makes a failure to compile an
error, WEXPORT_BUILD=numpy does not try. An editable installation has it built in place.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("wexport/stats/compiled_source")
FLAGS = ["-std=c11", "-O3", "-g0", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden"]
"""No product and sum is fused, so results are the same on every processor."""


class CompiledHook(BuildHookInterface):
    """Adds the extension module and the tag of its platform to a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; `version` is "editable" where the package is used from its folder."""
        wanted = os.environ.get("WEXPORT_BUILD", "")
        if self.target_name != "wheel" or wanted == "numpy":
            return
        root = Path(self.root)
        into = root if version == "editable" else Path(tempfile.mkdtemp(prefix="wexport-build-"))
        try:
            built = _compile(root, into)
        except Exception as error:  # whatever a compiler that is absent or broken raises
            if wanted == "compiled":
                raise
            self.app.display_warning(f"The compiled form cannot be built, NumPy is used instead: {error}")
            return
        if version == "editable":
            return
        build_data["force_include"][str(built)] = f"wexport/stats/{built.name}"
        build_data["pure_python"] = False
        if _limited():
            build_data["tag"] = f"cp311-abi3-{_platform()}"
        else:
            build_data["infer_tag"] = True


def _limited() -> bool:
    """Whether one module serves all versions of Python from 3.11: all interpreters but free-threaded ones."""
    return sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")


def _compile(root: Path, into: Path) -> Path:
    from setuptools import Distribution, Extension

    windows = sys.platform == "win32"
    extension = Extension(
        "wexport.stats._kernel",
        sources=[str(root / SOURCE / "module.c")],
        depends=[str(path) for path in (root / SOURCE).glob("*.h")],
        include_dirs=[str(root / SOURCE)],
        define_macros=[("Py_LIMITED_API", "0x030B0000")] if _limited() else [],
        extra_compile_args=["/O2", "/fp:precise", "/std:c11"] if windows else FLAGS,
        libraries=[] if windows else ["m"],
        py_limited_api=_limited(),
    )
    command = Distribution({"name": "wexport", "ext_modules": [extension]}).get_command_obj("build_ext")
    command.build_lib = str(into)
    command.build_temp = tempfile.mkdtemp(prefix="wexport-objects-")
    command.ensure_finalized()
    command.run()
    return into / command.get_ext_filename("wexport.stats._kernel")


def _platform() -> str:
    """The platform's tag. Wheels for others than this machine are repaired by auditwheel and its like."""
    from packaging.tags import platform_tags

    if sys.platform == "darwin":  # as the interpreter was built, or as the build asks
        name = os.environ.get("_PYTHON_HOST_PLATFORM") or sysconfig.get_platform()
        return name.replace("-", "_").replace(".", "_")
    return next(tag for tag in platform_tags() if not tag.startswith(("manylinux", "musllinux")))
