"""A pipeline's folder as one tar.gz whose bytes depend on nothing but its files: the same code has the same digest."""

import gzip
import hashlib
import os
import re
import tarfile
import tempfile
import warnings

ALWAYS_LEFT_OUT = [".git/", "__pycache__/", "*.pyc"]


class _Rule:
    """A line of .millraceignore, read as .gitignore is."""

    def __init__(self, line):
        self.keep = line.startswith("!")
        text = line[1:] if self.keep else line
        self.folders_only = text.endswith("/")
        text = text.rstrip("/")
        anchored = "/" in text
        text = text.lstrip("/")
        self.pattern = re.compile(("" if anchored else "(?:.*/)?") + self._expression(text) + r"\Z", re.DOTALL)

    @staticmethod
    def _expression(text):
        out, i = "", 0
        while i < len(text):
            if text.startswith("**/", i):
                out, i = out + "(?:.*/)?", i + 3
            elif text.startswith("**", i):
                out, i = out + ".*", i + 2
            elif text[i] == "*":
                out, i = out + "[^/]*", i + 1
            elif text[i] == "?":
                out, i = out + "[^/]", i + 1
            elif text[i] == "[" and "]" in text[i + 2 :]:
                end = text.index("]", i + 2)
                inside = text[i + 1 : end].replace("\\", "\\\\")
                out, i = out + "[" + ("^" + inside[1:] if inside[0] in "!^" else inside) + "]", end + 1
            elif text[i] == "\\" and i + 1 < len(text):
                out, i = out + re.escape(text[i + 1]), i + 2
            else:
                out, i = out + re.escape(text[i]), i + 1
        return out

    def matches(self, name, folder):
        return (folder or not self.folders_only) and self.pattern.match(name) is not None


def _rules(folder):
    lines = list(ALWAYS_LEFT_OUT)
    try:
        with open(os.path.join(folder, ".millraceignore"), encoding="utf-8") as f:
            lines += [line.rstrip("\r\n").rstrip() for line in f]
    except FileNotFoundError:
        pass
    return [_Rule(line) for line in lines if line and not line.startswith("#")]


def _left_out(rules, name, folder):
    out = False
    for rule in rules:
        if rule.matches(name, folder):
            out = not rule.keep
    return out


def _inside(folder, path):
    """Does this symbolic link stay in the folder?"""
    target = os.readlink(path)
    root = os.path.realpath(folder)
    return not os.path.isabs(target) and os.path.commonpath([root, os.path.realpath(path)]) == root


def names(folder, whole=False):
    """What is packed, in order: names relative to the folder, with / between their parts. `whole`: nothing is left out,
    folders are named too, and what cannot be packed is a ValueError."""
    return _look(folder, whole)[0]


def _look(folder, whole=False):
    """Names of what is packed, and of what cannot be: links out of the folder, sockets, devices."""
    rules, found, left = [] if whole else _rules(folder), [], []

    def walk(relative):
        for entry in sorted(os.scandir(os.path.join(folder, relative)), key=lambda e: os.fsencode(e.name)):
            name = relative + "/" + entry.name if relative else entry.name
            is_folder = entry.is_dir(follow_symlinks=False)
            if _left_out(rules, name, is_folder):
                continue
            if is_folder:
                if whole:
                    found.append(name)
                walk(name)
            elif _inside(folder, entry.path) if entry.is_symlink() else entry.is_file():
                found.append(name)
            elif whole:
                raise ValueError("%s: only files, folders and links within the folder can be packed" % name)
            else:
                left.append(name)

    walk("")
    return found, left


def digest_of(file):
    """(digest, size) of what an open file holds; it is then at its start."""
    digest, size = hashlib.sha256(), 0
    file.seek(0)
    for piece in iter(lambda: file.read(1 << 20), b""):
        digest.update(piece)
        size += len(piece)
    file.seek(0)
    return "sha256:" + digest.hexdigest(), size


def pack(folder, whole=False):
    """Packs the folder into an unnamed temporary file; returns (file, digest, size), the file at its start. `whole`: as
    an artifact, see names()."""
    found, left = _look(folder, whole)
    if left:
        warnings.warn("not packed, since steps get only files, folders and links within the folder: "
                      + ", ".join(left), stacklevel=2)
    out = tempfile.TemporaryFile()
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as zipped:
        with tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name in found:
                info = tar.gettarinfo(os.path.join(folder, name), name)
                if info.islnk():  # two names of one file: each is packed as itself
                    info.type, info.linkname = tarfile.REGTYPE, ""
                    info.size = os.stat(os.path.join(folder, name)).st_size
                info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
                info.mtime = info.uid = info.gid = 0
                info.uname = info.gname = ""
                if info.isreg():
                    with open(os.path.join(folder, name), "rb") as f:
                        tar.addfile(info, f)
                else:
                    tar.addfile(info)
    return out, *digest_of(out)
