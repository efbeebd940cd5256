"""The index tests need LanceDB, which is an optional part of the installation."""

from __future__ import annotations

import pytest

pytest.importorskip("lancedb", reason="LanceDB is not installed: pip install 'facesearch_trt[search]'")
