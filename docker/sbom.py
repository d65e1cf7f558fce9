"""Run inside the image while it is built: list all that is in it, as a software bill of materials in CycloneDX.

    sbom.py FILE

Python packages come from their own metadata, Debian's from dpkg. docker/locks/sbom.txt is on PYTHONPATH then.
"""

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

SITE = "/opt/venv/lib/python3.11/site-packages"
VERSION = SchemaVersion.V1_6
FIELDS = "${source:Package} ${Package} ${Version} ${Architecture} ${db:Status-Abbrev}\n"


def of_python() -> Iterator[Component]:
    """Packages of the virtual environment."""
    for found in distributions(path=[SITE]):
        name, version = found.metadata["Name"], found.version
        yield component(name, version, PackageURL("pypi", name=name.lower().replace("_", "-"), version=version))


def of_debian() -> Iterator[Component]:
    """Packages of the base and what was added to it; the source package is what advisories name."""
    told = subprocess.run(
        ["/usr/bin/dpkg-query", "-W", "-f", FIELDS], check=True, capture_output=True, text=True
    ).stdout
    for line in told.splitlines():
        source, name, version, architecture, *_ = line.split()
        place = {"arch": architecture, "distro": "bookworm", "upstream": source}
        yield component(name, version, PackageURL("deb", "debian", name, version, qualifiers=place))


def component(name: str, version: str, address: PackageURL) -> Component:
    """A package that is installed."""
    return Component(type=ComponentType.LIBRARY, name=name, version=version, purl=address, bom_ref=address.to_string())


def main(file: str) -> None:
    """Write the list."""
    image = Component(type=ComponentType.CONTAINER, name="twofold", bom_ref="twofold-image")
    bom = Bom(components=[*of_python(), *of_debian()])
    bom.metadata.component = image
    bom.register_dependency(image, bom.components)
    text = make_outputter(bom, OutputFormat.JSON, VERSION).output_as_string()
    # A list that scanners cannot read is found here, not by a security team.
    if broken := JsonStrictValidator(VERSION).validate_str(text):
        sys.exit(f"The list of what is in the image is no CycloneDX {VERSION.to_version()}: {broken}")
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
