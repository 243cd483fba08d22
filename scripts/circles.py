#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Finds files of a crate that take from each other, directly or around a circle.

A path counts as taken from the file that defines what it names: re-exports are followed, and are no taking themselves.
Tests do not count, and neither does what the file of a module holds for the files under it.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PATH = re.compile(r"\b(\w+)((?:::\w+)+)")
EXPORT = re.compile(r"^\s*pub(?:\([^)]*\))? use ([\w:]+?)(?: as (\w+))?;", re.M)


class Crate:
    def __init__(self, source):
        self.source = source
        self.texts, self.children, self.exports = {}, {}, {}
        for root in ("lib.rs", "main.rs"):
            if (source / root).exists() and not self.texts:
                self.read((), source / root, source)

    def read(self, module, file, directory):
        text = re.sub(r"//.*", "", file.read_text())
        text = re.sub(r"\bpub\(in [\w:]+\)", "pub", text)
        text = re.sub(r"#\[cfg\(test\)\]\s*(?:#\[[^]]*\]\s*)*mod \w+;", "", text)
        text = re.split(r"#\[cfg\(test\)\]\s*mod \w+ \{", text)[0]
        self.children[module] = set(re.findall(r"^(?:pub(?:\(\w+\))? )?mod (\w+);", text, re.M))
        self.exports[module] = {
            exported or path.rsplit("::", 1)[-1]: path.split("::") for path, exported in EXPORT.findall(text)
        }
        self.texts[module] = (file, EXPORT.sub("", text))
        for child in self.children[module]:
            flat, nested = directory / f"{child}.rs", directory / child / "mod.rs"
            self.read(module + (child,), flat if flat.exists() else nested, directory / child)

    def resolve(self, module, path):
        """The module that defines what the path names, seen from a module; None for what is of another crate."""
        if path[0] == "crate":
            at, rest = (), path[1:]
        elif path[0] in ("super", "self") or path[0] in self.children[module]:
            at, rest = module, path
        else:
            return None
        for number, name in enumerate(rest):
            if name == "super":
                at = at[:-1]
            elif name in self.children[at]:
                at += (name,)
            elif name in self.exports[at]:
                return self.resolve(at, self.exports[at][name] + rest[number + 1 :]) or at
            elif name != "self":
                break
        return at

    def edges(self):
        edges = {module: {} for module in self.texts}
        for module, (_, text) in self.texts.items():
            for first, rest in PATH.findall(text):
                path = [first] + rest.split("::")[1:]
                taken = self.resolve(module, path)
                if taken is not None and taken != module[: len(taken)]:
                    edges[module].setdefault(taken, set()).add(path[-1])
        return edges

    def name(self, module):
        return str(self.texts[module][0].relative_to(ROOT / "crates"))


def circles(edges):
    """The strongly connected parts of more than one module: those that reach each other."""

    def reached(start):
        seen, todo = set(), [start]
        while todo:
            for module in edges[todo.pop()]:
                if module not in seen:
                    seen.add(module)
                    todo.append(module)
        return seen

    reach = {module: reached(module) for module in edges}
    parts = {frozenset(other for other in reach[module] if module in reach[other]) for module in edges}
    return [part for part in parts if len(part) > 1]


def main():
    found = False
    for source in sorted((ROOT / "crates").glob("*/src")):
        crate = Crate(source)
        edges = crate.edges()
        for part in circles(edges):
            found = True
            print(f"circle of {len(part)} files:")
            for module in sorted(part):
                for taken in sorted(set(edges[module]) & part):
                    things = ", ".join(sorted(edges[module][taken]))
                    print(f"  {crate.name(module)} takes from {crate.name(taken)}: {things}")
    return found


sys.exit(main())
