import ast
from pathlib import Path

from hitsr.models.fused.cuda import kernels
from hitsr.models.fused.cuda.kernels import OF_MIXERS

FOLDER = Path(kernels.__file__).parent


def test_the_kernels_of_mixers_exist():
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in FOLDER.glob("*.py")]
    named = {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert named >= OF_MIXERS


def test_the_table_of_files_has_each_file():
    assert kernels.__doc__ is not None
    listed = {line.split("|")[1].strip() for line in kernels.__doc__.splitlines() if "|" in line}
    files = {file.stem for file in FOLDER.glob("*.py")} - {"__init__"}
    assert listed == files | {"file"}
