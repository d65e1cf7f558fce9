"""What all charts have in common: pictures in the page itself, without scripts and without anything from elsewhere."""

import sys

import pygal
from pygal.etree import etree

# pygal finds its plugins by a finder for all imports, of a kind that Python warns of at every later one.
sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)]

_SVG = "{http://www.w3.org/2000/svg}"


def svg(chart: pygal.Graph) -> str:
    """Draw a chart as SVG to be put into a page, its scripts taken out: without their library they do nothing."""
    chart.config(js=[], disable_xml_declaration=True, explicit_size=False)
    tree = chart.render_tree()
    for parent in list(tree.iter()):
        for child in [child for child in parent if child.tag in {"script", f"{_SVG}script"}]:
            parent.remove(child)
    text: str = etree.tostring(tree, encoding="unicode")
    return text
