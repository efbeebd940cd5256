"""Everything of DeepStream that the code names is in the contract, for every version that is claimed.

The contract holds the names of DeepStream 6.4 to 9.1 with what appeared later or is for one platform only. The check is static: it reads
the source of the graph room, so that also what no test runs is seen.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[1]
GRAPH = REPOSITORY / "facesearch_trt" / "graph"
CONTRACT: dict[str, Any] = json.loads(
    (REPOSITORY / "tests" / "contracts" / "deepstream.json").read_text(encoding="utf-8")
)
MODULES = sorted(GRAPH.glob("*.py"))

CLAIMED = ("6.4", "7.0", "7.1", "8.0", "9.0", "9.1")
"""DeepStream versions that the program claims to run on; docs/deepstream.md says the same."""

OURS = ("nvstreammux", "nvinfer", "nvvideoconvert", "nvv4l2decoder", "nvurisrcbin")

PLAIN = {
    "appsink": {"sync", "qos", "drop", "max-buffers", "enable-last-sample", "emit-signals"},
    "appsrc": {"caps"},
    "capsfilter": {"caps"},
    "fakesink": {"sync", "async", "qos", "enable-last-sample"},
    "identity": set(),
    "rtspsrc": {"location", "latency"},
}
"""GStreamer's own elements that :func:`element` makes, and their properties."""

VARIABLES = {
    "batch_meta": "NvDsBatchMeta",
    "frame_meta": "NvDsFrameMeta",
    "_frame_meta": "NvDsFrameMeta",
    "user_meta": "NvDsUserMeta",
    "base_meta": "NvDsBaseMeta",
    "tensor_meta": "NvDsInferTensorMeta",
    "layer": "NvDsInferLayerInfo",
    "dims": "NvDsInferDims",
    "node": "GList",
}
"""Names under which instances of pyds classes go in graph/probe.py."""


MAKER_VARIABLES = {
    "pipeline": "Pipeline",
    "_pipeline": "Pipeline",
    "batch_meta": "BatchMetadata",
    "frame_meta": "FrameMetadata",
    "user_meta": "TensorOutputUserMetadata",
    "buffer": "Buffer",
}
"""Names under which instances of pyservicemaker's classes go in graph/servicemaker*.py."""

MAKER_BEYOND = {("Pipeline", "stop")}
"""NVIDIA's source of DeepStream 9.2 has it where the document that the contract is made from has ``deactivate``: the code
takes what is there.
"""


def trees() -> Iterator[tuple[str, ast.Module]]:
    for module in MODULES:
        yield module.name, ast.parse(module.read_text(encoding="utf-8"))


def literal_keys(node: ast.expr, scope: ast.AST) -> Iterator[str]:
    """Yield the keys of a dict display; of names that it spreads, the keys of all dicts that are given to them."""
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                yield from literal_keys(value, scope)
            else:
                assert isinstance(key, ast.Constant) and isinstance(key.value, str), ast.dump(key)
                yield key.value
    elif isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        scopes = [scope, *(tree for _, tree in trees())]
        # In this module, or else in the one that it is imported from.
        made = next((found for one in scopes if (found := functions_named(name, one))), [])
        returned = [part.value for one in made for part in ast.walk(one) if isinstance(part, ast.Return)]
        assert returned and all(returned), f"cannot see the properties that {name} returns"
        for value in returned:
            assert value is not None
            yield from literal_keys(value, scope)
    elif isinstance(node, ast.IfExp):
        yield from literal_keys(node.body, scope)
        yield from literal_keys(node.orelse, scope)
    else:
        name = ast.unparse(node)
        found = [
            part.value
            for part in ast.walk(scope)
            if isinstance(part, ast.Assign) and any(ast.unparse(target) == name for target in part.targets)
        ]
        assert found, f"cannot see the properties in {name}"
        for value in found:
            yield from literal_keys(value, scope)


def functions_named(name: str, scope: ast.AST) -> list[ast.FunctionDef]:
    return [part for part in ast.walk(scope) if isinstance(part, ast.FunctionDef) and part.name == name]


def makes_element(node: ast.AST) -> bool:
    """Whether this is ``element(factory, name, {...})`` or pyservicemaker's ``pipeline.add(factory, name, {...})``."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Name):
        return node.func.id == "element"
    return ast.unparse(node.func) == "pipeline.add" and len(node.args) == 3


def elements_made() -> Iterator[tuple[str, str, str]]:
    """Yield module, factory and property of every element that is made; the property is "" for none."""
    for module, tree in trees():
        for node in ast.walk(tree):
            if not makes_element(node):
                continue
            assert isinstance(node, ast.Call)
            factory = node.args[0]
            if not isinstance(factory, ast.Constant):
                continue
            yield module, factory.value, ""
            for key in literal_keys(node.args[2], tree):
                yield module, factory.value, key


def launched() -> Iterator[tuple[str, str, str]]:
    """Yield the same for pipeline descriptions in strings: ``nv... property=value``."""
    for module, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, (ast.Constant, ast.JoinedStr)):
                text = ast.unparse(node).strip("'\"f")
                for part in text.split("!") if " ! " in text else ():
                    words = part.split()
                    if words and words[0] in CONTRACT["elements"]:
                        for word in words[1:]:
                            yield module, words[0], word.partition("=")[0]


def set_afterwards() -> Iterator[tuple[str, str]]:
    """Yield module and property of every ``x.set_property("name", ...)``."""
    for module, tree in trees():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "set_property"
                and isinstance(node.args[0], ast.Constant)
            ):
                yield module, node.args[0].value


def test_versions() -> None:
    assert set(CLAIMED) <= CONTRACT["release_matrix"]["releases"].keys()
    text = (REPOSITORY / "docs" / "deepstream.md").read_text(encoding="utf-8")
    for version in CLAIMED:
        assert re.search(rf"\| {re.escape(version)} \|", text), f"docs/deepstream.md says nothing of {version}"


def test_elements_and_their_properties() -> None:
    seen = set()
    for module, factory, key in [*elements_made(), *launched()]:
        if factory in PLAIN:
            assert not key or key in PLAIN[factory], f"{module}: {factory} {key}"
            continue
        if factory not in CONTRACT["elements"]:
            assert not factory.startswith("nvds") and factory not in OURS
            assert factory.startswith("nv"), f"{module}: element {factory} is neither in the contract nor listed here"
            continue
        seen.add(factory)
        if key:
            properties = CONTRACT["elements"][factory]["properties"]
            assert key in properties, f"{module}: {factory} has no property {key}"
            facts = properties[key]
            assert facts.get("writable", True), f"{module}: {factory} {key} can only be read"
            assert "since" not in facts, f"{module}: {factory} {key} is there only {facts['since']}"
    assert seen == set(OURS)


def test_properties_set_afterwards_are_nvurisrcbins() -> None:
    theirs = CONTRACT["elements"]["nvurisrcbin"]["properties"]
    for module, key in set_afterwards():
        if module == "deepstream_source.py":
            assert key in theirs, f"{module}: nvurisrcbin has no property {key}"


def test_properties_of_one_platform_are_given_on_that_one_only() -> None:
    """All that is platform-bound is ``gpu-id`` of the decoder, and it is given where this is no Jetson."""
    bound = {
        (factory, key)
        for _, factory, key in elements_made()
        if key and factory in OURS and CONTRACT["elements"][factory]["properties"][key].get("platform", "all") != "all"
    }
    assert bound == {("nvv4l2decoder", "gpu-id")}
    source = (GRAPH / "deepstream_source.py").read_text(encoding="utf-8")
    assert '{} if settings.jetson else {"gpu-id": settings.gpu_id}' in source


def test_nvinfer_keys() -> None:
    known = CONTRACT["nvinfer_config"]["groups"]
    template = (REPOSITORY / "configs" / "deepstream" / "detector.txt").read_text(encoding="utf-8")
    group = None
    keys = []
    for line in template.splitlines():
        if match := re.fullmatch(r"\[(.*)\]", line):
            group = match[1]
            assert group in known
        elif line and not line.startswith("#"):
            key = line.partition("=")[0]
            assert group is not None and key in known[group], f"nvinfer has no key {key} in [{group}]"
            facts = known[group][key]
            assert not facts.get("deprecated") and not facts.get("legacy"), key
            keys.append(key)
    assert len(keys) == len(set(keys)) >= 15


def test_network_type_and_formats() -> None:
    """What the code relies on is what the contract says."""
    assert CONTRACT["nvinfer_config"]["groups"]["property"]["network-type"]["enum"]["other"] == 100
    assert CONTRACT["behaviours"]["letterbox"]["maintain-aspect-ratio=1"]["padding"] == "right and bottom"
    assert CONTRACT["behaviours"]["mux_classic"]["enable-padding"] == {"layout": "centred", "size_rounding": "floor"}
    flips = CONTRACT["elements"]["nvvideoconvert"]["properties"]["flip-method"]["enum"]
    tree = ast.parse((GRAPH / "deepstream_source.py").read_text(encoding="utf-8"))
    (ours,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLIP"
    )
    assert ours == flips


class TestPyds:
    TREE = ast.parse((GRAPH / "probe.py").read_text(encoding="utf-8"))
    PYDS = CONTRACT["pyds"]

    def test_names_of_the_module(self) -> None:
        known = {*self.PYDS["functions"], *self.PYDS["classes"], *self.PYDS["enums"]}
        used = {
            node.attr
            for node in ast.walk(self.TREE)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("pyds", "self._pyds")
        }
        used |= {
            node.args[1].value
            for node in ast.walk(self.TREE)
            if isinstance(node, ast.Call)
            and ast.unparse(node.func) == "hasattr"
            and isinstance(node.args[1], ast.Constant)
        }
        assert used <= known, used - known
        assert len(used) >= 9

    def test_fields_and_methods(self) -> None:
        seen = 0
        for node in ast.walk(self.TREE):
            if not isinstance(node, ast.Attribute):
                continue
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else ast.unparse(node.value)
            if owner in VARIABLES:
                facts = self.PYDS["classes"][VARIABLES[owner]]
                assert node.attr in facts["fields"] or node.attr in facts["methods"], f"{VARIABLES[owner]}.{node.attr}"
                seen += 1
        assert seen >= 12

    def test_values_of_enumerations(self) -> None:
        values = {name for enum in self.PYDS["enums"].values() for name in enum["values"]}
        used = {
            node.attr
            for node in ast.walk(self.TREE)
            if isinstance(node, ast.Attribute) and (ast.unparse(node.value) == "kinds" or node.attr.startswith("NVDS"))
        }
        assert used <= values and "NVDSINFER_TENSOR_OUTPUT_META" in used

    @pytest.mark.parametrize("name", ["get_nvds_buf_surface", "get_nvds_buf_surface_gpu", "unmap_nvds_buf_surface"])
    def test_arguments(self, name: str) -> None:
        wanted = len(self.PYDS["functions"][name]["params"])
        calls = [
            node
            for node in ast.walk(self.TREE)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == f"pyds.{name}"
        ]
        assert calls and all(len(call.args) == wanted and not call.keywords for call in calls)


class TestServiceMaker:
    TREES = tuple(
        ast.parse((GRAPH / f"servicemaker{part}.py").read_text(encoding="utf-8")) for part in ("", "_clip", "_batch")
    )
    CLASSES = CONTRACT["pyservicemaker"]["classes"]

    def nodes(self) -> Iterator[ast.AST]:
        for tree in self.TREES:
            yield from ast.walk(tree)

    def test_names_of_the_module(self) -> None:
        (names,) = (
            ast.literal_eval(node.value)
            for node in self.nodes()
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_NAMES"
        )
        used = {
            node.attr
            for node in self.nodes()
            if isinstance(node, ast.Attribute)
            and ast.unparse(node.value) in ("module", "self._module", "pyservicemaker")
        }
        assert used == set(names), "what is used is what is looked for when it is loaded"
        assert used <= self.CLASSES.keys()

    def test_properties_and_methods(self) -> None:
        seen = set()
        for node in self.nodes():
            if not isinstance(node, ast.Attribute):
                continue
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else ast.unparse(node.value)
            if owner in MAKER_VARIABLES:
                facts = self.CLASSES[MAKER_VARIABLES[owner]]
                known = {
                    *facts.get("properties", ()),
                    *facts.get("single_pass_iterators", ()),
                    *facts.get("methods", ()),
                }
                name = MAKER_VARIABLES[owner], node.attr
                assert node.attr in known or name in MAKER_BEYOND or self.is_ours(node), name
                seen.add(name)
        assert {"add", "link", "attach", "start", "wait"} <= {name for one, name in seen if one == "Pipeline"}
        assert len(seen) >= 14

    def is_ours(self, node: ast.Attribute) -> bool:
        """Whether it is a method of :class:`ClipPipeline`, whose instances the graph calls pipelines too."""
        return ast.unparse(node.value) == "pipeline" and node.attr in ("start", "stop", "fail", "faults")

    def test_what_is_asked_for_by_name(self) -> None:
        """``getattr(pipeline, "deactivate", None)`` is seen too."""
        asked = {
            node.args[1].value
            for node in self.nodes()
            if isinstance(node, ast.Call)
            and ast.unparse(node.func) == "getattr"
            and isinstance(node.args[1], ast.Constant)
        }
        assert asked - {"__file__"} == {"deactivate"} and "deactivate" in self.CLASSES["Pipeline"]["methods"]

    def test_tensors(self) -> None:
        (facts,) = self.CLASSES["TensorOutputUserMetadata"]["methods"].values()
        called = {
            node.attr
            for node in self.nodes()
            if isinstance(node, ast.Attribute) and "as_tensor_output()" in ast.unparse(node.value)
        }
        assert called - {"items"} == set(facts["returns_object_with"])

    def test_overridden_methods(self) -> None:
        overridden = {}
        for node in self.nodes():
            if isinstance(node, ast.ClassDef) and node.bases and ast.unparse(node.bases[0]).startswith("module."):
                base = ast.unparse(node.bases[0]).removeprefix("module.")
                for method in node.body:
                    assert isinstance(method, ast.FunctionDef)
                    overridden[base] = {method.name: [argument.arg for argument in method.args.args[1:]]}
        assert overridden == {
            name: self.CLASSES[name]["override"] for name in ("BufferOperator", "BatchMetadataOperator")
        }

    def test_pads(self) -> None:
        """Pads that links name are pads of some element of the contract."""
        pads = {pad for element in CONTRACT["elements"].values() for pad in element["pads"]}
        named = {
            pad.value
            for node in self.nodes()
            if isinstance(node, ast.Call)
            and ast.unparse(node.func) == "pipeline.link"
            and isinstance(node.args[-1], ast.Tuple)
            for pad in node.args[-1].elts
            if isinstance(pad, ast.Constant) and pad.value
        }
        assert named == {"vsrc_%u", "sink_%u"} and named <= pads
