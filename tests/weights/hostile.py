"""Files that run something when a reader trusts them."""

import functools
import io
import os
import pickle
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

Making = Callable[[Path, Path], None]
MAGIC: Final = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
IMPORTED: Final = "module_that_marks"


@dataclass(frozen=True)
class Attack:
    """``write(file, marker)`` makes a file that makes ``marker`` when it is trusted."""

    name: str
    write: Making


class Calls:
    """Pickled as a call of ``function``."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


class Wakes:
    """Makes its marker when it is set up again."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __getstate__(self) -> dict[str, str]:
        return {"marker": self.marker}

    def __setstate__(self, state: dict[str, str]) -> None:
        Path(state["marker"]).touch()


class WakingNet(nn.Linear):
    """A whole network, as people save them."""

    def __init__(self, marker: Path) -> None:
        super().__init__(2, 2)
        self.marker = str(marker)

    def __setstate__(self, state: dict[str, Any]) -> None:
        Path(state["marker"]).touch()


def shell(marker: Path) -> str:
    return f"touch '{marker}'"


def python(marker: Path) -> str:
    return f"__import__('pathlib').Path({str(marker)!r}).touch()"


def saved(value: Callable[[Path], object], *, new: bool = True) -> Making:
    """Whatever torch.save writes of it: a zip, or with ``new=False`` the older pickle."""
    return lambda file, marker: torch.save(value(marker), file, _use_new_zipfile_serialization=new)


def opcodes(text: Callable[[Path], str]) -> Making:
    """A pickle of protocol 0, written by hand, alone in the file."""
    return lambda file, marker: (file.write_bytes(text(marker).encode()), None)[1]


def in_zip(text: Callable[[Path], str]) -> Making:
    """The same where torch.save has its pickle."""

    def write(file: Path, marker: Path) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", text(marker))
            archive.writestr("archive/version", "3\n")

    return write


def in_legacy(text: Callable[[Path], str]) -> Making:
    """The same behind the three pickles with which torch's older files begin."""

    def write(file: Path, marker: Path) -> None:
        start = b"".join(pickle.dumps(part, 2) for part in MAGIC)
        file.write_bytes(start + text(marker).encode() + pickle.dumps([], 2))

    return write


def in_tar(file: Path, marker: Path) -> None:
    data = pickle.dumps(Calls(os.system, shell(marker)), 2)
    with tarfile.open(file, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def in_npz(file: Path, marker: Path) -> None:
    with file.open("wb") as stream:
        np.savez(stream, weight=np.array([Calls(os.system, shell(marker))], dtype=object))


def within_bytes(marker: Path) -> dict[str, Any]:
    """A storage's own loader, which opens a file in the file and trusts it."""
    stream = io.BytesIO()
    torch.save(Calls(os.system, shell(marker)), stream)
    return {"weight": Calls(torch.storage._load_from_bytes, stream.getvalue())}


def got_by_name(marker: Path) -> str:
    module = "cimportlib\nimport_module\n(Vos\ntR"
    return f"cbuiltins\ngetattr\n({module}Vsystem\ntR(V{shell(marker)}\ntR."


def decoded(marker: Path) -> str:
    return f"cbuiltins\nexec\n(c_codecs\ndecode\n(c_codecs\nencode\n(V{python(marker)}\ntRVutf_8\ntRtR."


ATTACKS: Final = (
    Attack("system-zip", saved(lambda marker: Calls(os.system, shell(marker)))),
    Attack("system-legacy", saved(lambda marker: {"w": Calls(os.system, shell(marker))}, new=False)),
    Attack(
        "system-in-state-dict",
        saved(lambda marker: {"state_dict": {"w": torch.ones(2), "b": Calls(os.system, shell(marker))}}),
    ),
    Attack("eval", saved(lambda marker: {"w": Calls(eval, python(marker))})),
    Attack("exec", saved(lambda marker: {"w": Calls(exec, python(marker))}, new=False)),
    Attack("popen", saved(lambda marker: {"w": Calls(subprocess.check_call, ["touch", str(marker)])})),
    Attack("partial", saved(lambda marker: {"w": Calls(functools.partial(os.system, shell(marker)))})),
    Attack("setstate", saved(lambda marker: {"w": Wakes(marker)})),
    Attack("setstate-legacy", saved(lambda marker: {"w": Wakes(marker)}, new=False)),
    Attack("module", saved(WakingNet)),
    Attack("bytes-in-bytes", saved(within_bytes)),
    Attack("import", in_zip(lambda _marker: f"c{IMPORTED}\nanything\n.")),
    Attack("posix-opcodes", opcodes(lambda marker: f"cposix\nsystem\n(V{shell(marker)}\ntR.")),
    Attack("posix-opcodes-zip", in_zip(lambda marker: f"cposix\nsystem\n(V{shell(marker)}\ntR.")),
    Attack("posix-opcodes-legacy", in_legacy(lambda marker: f"cposix\nsystem\n(V{shell(marker)}\ntR.")),
    Attack("getattr", in_zip(got_by_name)),
    Attack("codecs", in_legacy(decoded)),
    Attack("tar", in_tar),
    Attack("object-array", in_npz),
)
