#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""man.py XML_FOLDER VERSION OUT_FOLDER: manual pages, section 3, from Doxygen's XML.

A page for each function and function-like macro, a page for each header (with its structs and constants), and one that
lists the headers. Doxygen's own pages do not suit: they have one per header, and name others after members of structs.
"""
import os
import re
import sys
import xml.etree.ElementTree as ET

WIDTH = 76


def escaped(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def plain(element):
    return " ".join("".join(element.itertext()).split()) if element is not None else ""


# --- descriptions -----------------------------------------------------------------------------------------------------


def roff(element):
    """What is in an element: code in italics, names of functions bold, drawings as they are."""
    if element.tag == "verbatim":
        return "\n.PP\n.nf\n.ft CR\n" + escaped((element.text or "").strip("\n").rstrip()) + "\n.ft\n.fi\n.PP\n"
    if element.tag == "parameterlist":
        return "".join(parameter(item) for item in element) + "\n.PP\n"
    text = escaped(element.text or "")
    for child in element:
        text += roff(child) + escaped(child.tail or "")
    if element.tag == "computeroutput":
        return f"\\fI{text}\\fP"
    if element.tag == "ref" and text.startswith("hp_"):
        return f"\\fB{text}\\fP"
    return text


def parameter(item):
    name, text = plain(item.find("parameternamelist")), roff(item.find("parameterdescription"))
    return f"\n.TP\n.I {escaped(name)}\n{text.strip()}"


def described(element):
    """Brief and detailed description, a paragraph each."""
    paragraphs = [p for kind in ("briefdescription", "detaileddescription") for p in element.findall(f"{kind}/para")]
    text = "\n.PP\n".join(roff(p).strip() for p in paragraphs)
    return re.sub(r"\n\s*\n", "\n", re.sub(r"(\n\.PP)+\n(?=\.(PP|TP))", "\n", text)).strip() + "\n"


def brief_of(element, title=""):
    """The first sentence, without what it begins with as a title: what NAME has."""
    text = plain(element.find("briefdescription")) or plain(element.find("detaileddescription"))
    return re.split(r"(?<=\.) ", text)[0].removeprefix(f"{title}: ").rstrip(".")


# --- declarations -----------------------------------------------------------------------------------------------------


def prototype(member):
    name = member.findtext("name")
    if member.get("kind") == "define":
        return [f"{name}({', '.join(p.findtext('defname') for p in member.findall('param'))})"]
    kind = re.sub(r"\b(static|inline|extern) ?", "", plain(member.find("type")))
    kind += "" if kind.endswith("*") else " "
    lines, indent = [f"{kind}{name}("], " " * 4
    parts = member.findtext("argsstring")[1:-1].split(", ")
    for part in [p + ", " for p in parts[:-1]] + [parts[-1] + ");"]:
        if len(lines[-1]) + len(part) > WIDTH:
            lines.append(indent)
        lines[-1] += part
    return [line.rstrip() for line in lines]


def synopsis(header, members):
    lines = [f".B #include <{header}>", ".sp"]
    for member in members:
        lines += [f'.B "{escaped(line)}"' for line in prototype(member)]
    return ".SH SYNOPSIS\n.nf\n" + "\n".join(lines) + "\n.fi\n"


class Manual:
    def __init__(self, xml, version, out):
        self.xml, self.version, self.out = xml, version, out

    def compound(self, refid):
        return ET.parse(os.path.join(self.xml, f"{refid}.xml")).find("compounddef")

    def write(self, name, brief, text, see):
        see = ",\n".join(f".BR {escaped(s)} (3)" for s in see)
        with open(os.path.join(self.out, f"{name}.3"), "w", encoding="utf-8") as f:
            f.write(f'.TH {escaped(name)} 3 "" "h3pool {self.version}" "h3pool"\n.nh\n.SH NAME\n'
                    f"{escaped(name)} \\- {escaped(brief)}\n{text}.SH SEE ALSO\n{see}\n")

    def struct(self, refid):
        compound = self.compound(refid)
        text = f".SS struct {escaped(compound.findtext('compoundname'))}\n{described(compound)}"
        for member in compound.iter("memberdef"):
            declared = f"{plain(member.find('type'))} {member.findtext('name')}{member.findtext('argsstring') or ''}"
            text += f".TP\n.B {escaped(declared.replace('* ', '*'))}\n{described(member)}"
        return text

    def header(self, group):
        """Writes the pages of a header; returns its page's name and brief."""
        members = list(group.iter("memberdef"))
        calls = [m for m in members if m.get("kind") == "function" or m.find("param") is not None]
        names = [m.findtext("name") for m in calls]
        page, title = group.findtext("compoundname"), group.findtext("title")
        header = f"h3pool/{page.removeprefix('h3pool_')}.h"
        for name, member in zip(names, calls):
            text = synopsis(header, [member]) + ".SH DESCRIPTION\n" + described(member)
            self.write(name, brief_of(member), text, [page] + [n for n in names if n != name])
        text = synopsis(header, calls) + ".SH DESCRIPTION\n" + described(group)
        structs = [self.struct(c.get("refid")) for c in group.findall("innerclass")]
        text += "".join([".SH STRUCTS\n"] * bool(structs) + structs)
        constants = [m for m in members if m.get("kind") == "define" and m not in calls]
        text += ".SH CONSTANTS\n" * bool(constants)
        for member in constants:
            text += f".TP\n.B {escaped(member.findtext('name'))} {escaped(plain(member.find('initializer')))}\n"
            text += described(member)
        self.write(page, brief_of(group, title), text, ["h3pool"] + names)
        return page, brief_of(group, title)


def main(xml, version, out):
    os.makedirs(out, exist_ok=True)
    manual = Manual(xml, version, out)
    groups = sorted(name.removesuffix(".xml") for name in os.listdir(xml) if name.startswith("group__"))
    headers = [manual.header(manual.compound(group)) for group in groups]
    text = ".SH DESCRIPTION\n" + "".join(f".TP\n.BR {escaped(page)} (3)\n{escaped(brief)}\n" for page, brief in headers)
    manual.write("h3pool", "memory pools with names, limits and counters", text, [page for page, _ in headers])


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
