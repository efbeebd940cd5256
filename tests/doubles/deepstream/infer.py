"""nvinfer as the contract has it, with ONNX Runtime in TensorRT's place.

An engine file of the double is JSON: ``{"onnx": path, "width": px, "height": px, "max_batch": n}``, as
:func:`write_engine` makes it, or a plan that the double of TensorRT built (:mod:`tests.doubles.gpu`).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from gi.repository import GObject, Gst

from tests.doubles.gpu.tensorrt_build import MAGIC
from tests.doubles.queries import answered

from .contract import contract
from .elements import Checked, guarded, properties_of
from .infer_config import read_config
from .memory import Batch, Layer, Surface, TensorPool, Tensors, batch_of
from .rules import STATE, violation


def write_engine(path: Path, onnx: Path, width: int, height: int, max_batch: int) -> Path:
    """Write an engine file of the double, where there is none of this content: another thread may be reading it."""
    content = json.dumps({"onnx": str(onnx), "width": width, "height": height, "max_batch": max_batch})
    if not path.exists() or path.read_text() != content:
        path.write_text(content)
    return path


def _read_engine(content: bytes) -> dict[str, Any]:
    """Return an engine's ONNX (a path, or its bytes), input size and largest batch."""
    if not content.startswith(MAGIC):
        engine: dict[str, Any] = json.loads(content)
        return engine
    line, model = content[: -hashlib.sha256().digest_size].removeprefix(MAGIC).split(b"\n", 1)
    # Of several profiles nvinfer takes the first.
    ((low, _, high),) = json.loads(line)["profiles"][0].values()
    if low[1:] != high[1:]:
        raise violation(f"the double's nvinfer takes an engine of one input size, not {low} to {high}")
    return {"onnx": model, "width": high[3], "height": high[2], "max_batch": high[0]}


class Infer(Checked, Gst.Element):
    """The element: primary mode, tensor output."""

    NAME = "nvinfer"
    KLASS = "NvInfer Plugin"
    RANK = Gst.Rank.NONE
    __gtype_name__ = "DoubleNvInfer"
    __gproperties__ = properties_of(NAME)

    def __init__(self) -> None:
        super().__init__()
        self.start()
        self.sink = Gst.Pad.new_from_template(self.TEMPLATES["sink"], "sink")
        self.src = Gst.Pad.new_from_template(self.TEMPLATES["src"], "src")
        self.sink.set_chain_function_full(lambda pad, parent, buffer: self._chain(buffer))
        # By default caps go no further.
        self.sink.set_event_function_full(lambda pad, parent, event: bool(self.src.push_event(event)))
        self.sink.set_query_function_full(answered)
        self.src.set_query_function_full(answered)
        self.add_pad(self.sink)
        self.add_pad(self.src)
        self._config: dict[str, Any] = {}
        self._session: Any = None
        self._pool = TensorPool()
        self._batches = 0

    def do_change_state(self, transition: Any) -> Any:
        if transition == Gst.StateChange.READY_TO_PAUSED:
            try:
                self._load()
            except Exception as error:
                self.fail(str(error))
                return Gst.StateChangeReturn.FAILURE
        return Gst.Element.do_change_state(self, transition)

    def _load(self) -> None:
        path = self.value("config-file-path")
        if not path:
            raise violation("nvinfer: config-file-path is not set")
        config = read_config(Path(path))
        for name, key in contract()["elements"]["nvinfer"]["property_vs_config"].items():
            if name in self._values:
                config[key] = self._values[name]
        if config["network-type"] != 100 or config["process-mode"] != 1:
            raise violation("the double's nvinfer knows network-type 100 in primary mode")
        self._config = config
        engine_file = Path(config.get("model-engine-file", ""))
        if not engine_file.is_file():
            raise RuntimeError(f"cannot open engine file {engine_file}, and there is no model to build one from")
        engine = _read_engine(engine_file.read_bytes())
        if config["batch-size"] > engine["max_batch"]:
            raise RuntimeError(
                f"batch-size {config['batch-size']} is above the engine's {engine['max_batch']}, and there is no model"
            )
        if "infer-dims" in config and config["infer-dims"] != [3, engine["height"], engine["width"]]:
            raise RuntimeError(f"engine's input is not {config['infer-dims']}")
        self._size = engine["width"], engine["height"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(engine["onnx"], options, providers=["CPUExecutionProvider"])
        pool = config.get("tensor-meta-pool-size", contract()["behaviours"]["tensor_meta"]["pool_size_default"])
        self._pool = TensorPool(pool)

    @guarded
    def _chain(self, buffer: Any) -> Any:
        batch = batch_of(hash(buffer))
        if batch is None:
            raise violation("nvinfer wants batched buffers of nvstreammux")
        if STATE.infer_fails_after is not None and self._batches >= STATE.infer_fails_after:
            self.fail("Failed to queue input batch for inferencing")
            return Gst.FlowReturn.ERROR
        interval = self._config["interval"]
        tensors = []
        if self._batches % (interval + 1) == 0:
            step = self._config["batch-size"]
            for start in range(0, len(batch.surfaces), step):
                tensors.append(self._infer(batch, start, step))
        self._batches += 1
        flow = self.src.push(buffer)
        # The next element is a sink or another nvinfer, so whoever looks at this batch has looked.
        for one in tensors:
            one.close()
        del buffer
        return flow

    def _infer(self, batch: Batch, start: int, step: int) -> Tensors:
        surfaces = batch.surfaces[start : start + step]
        planes = np.stack([self._planes(surface) for surface in surfaces])
        results = self._session.run(None, {self._session.get_inputs()[0].name: planes})
        names = [output.name for output in self._session.get_outputs()]
        layers = [
            Layer(name, np.ascontiguousarray(content).copy()) for name, content in zip(names, results, strict=True)
        ]
        made = Tensors(self._config["gie-unique-id"], layers, *self._size)
        if self._config["output-tensor-meta"]:
            self._pool.take()
            batch.on_gone.append(self._pool.give)
            for index, frame in enumerate(batch.frames[start : start + step]):
                frame.tensors.append((made, index))
        return made

    def _planes(self, surface: Surface) -> np.ndarray:
        if surface.colour_format != "RGBA":
            raise violation(f"the double's nvinfer takes RGBA, not {surface.colour_format}")
        width, height = self._size
        config = self._config
        if config["maintain-aspect-ratio"]:
            scale = min(width / surface.width, height / surface.height)
            # As the plugin does it: one side fills the network, the other is cut to whole pixels.
            size = min(width, int(surface.width * scale + 1e-9)), min(height, int(surface.height * scale + 1e-9))
        else:
            size = width, height
        x = y = 0
        if config["symmetric-padding"]:
            x, y = (width - size[0]) // 2, (height - size[1]) // 2
        filters = {0: cv2.INTER_NEAREST, 1: cv2.INTER_LINEAR, 6: cv2.INTER_NEAREST}
        picture = cv2.resize(surface.pixels, size, interpolation=filters[config["scaling-filter"]])
        padded = np.zeros((height, width, 3), np.float32)
        code = cv2.COLOR_RGBA2RGB if config["model-color-format"] == 0 else cv2.COLOR_RGBA2BGR
        padded[y : y + size[1], x : x + size[0]] = cv2.cvtColor(picture, code)
        offsets = np.array(config.get("offsets", [0.0, 0.0, 0.0]), np.float32)
        return ((padded - offsets) * np.float32(config["net-scale-factor"])).transpose(2, 0, 1)


GObject.type_register(Infer)
