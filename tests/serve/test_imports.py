"""What the start of a server costs, up to its first 200: modules, not milliseconds (tests/test_imports.py)."""

import pytest

pytestmark = pytest.mark.procs

MOST = 660
NEVER = {"torch", "onnx", "onnxscript", "scipy", "pyarrow", "PIL", "rich", "pygal", "boto3", "sagemaker_inference"}


def test_a_server_with_a_program_imports_no_torch(serving, program, imported):
    """Its worker included."""
    server = serving(program.base, PYTHONPROFILEIMPORTTIME="1").ready()
    assert server.stop() == 0
    found = imported(server.log)
    assert "onnxruntime" in found.packages
    assert not found.packages & NEVER
    print("COUNT", len(found.modules))
    assert len(found.modules) <= MOST
