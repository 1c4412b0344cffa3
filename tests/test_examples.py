"""Every example runs as a newcomer would run it: as a program, without a key."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(
    path
    for path in [*EXAMPLES.glob("*.py"), *EXAMPLES.glob("migrate/*.py")]
    if path.name not in ("common.py", "studio.py")
)


@pytest.mark.filterwarnings(  # LangServe asks instances of pydantic models for their fields
    "ignore:Accessing the 'model_fields' attribute:pydantic.warnings.PydanticDeprecatedSince211"
)
@pytest.mark.filterwarnings(  # LlamaIndex's LangChain adapter
    "ignore:The `(schema|__fields__)`:pydantic.warnings.PydanticDeprecatedSince20",
    "ignore:`langchain-community` is being sunset:DeprecationWarning",
)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_example_runs_without_a_key(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(script.parent)

    runpy.run_path(str(script), run_name="__main__")

    printed, complaints = capsys.readouterr()
    assert printed.strip()
    assert complaints == ""


def test_every_example_is_in_the_index_and_short() -> None:
    index = (EXAMPLES / "README.md").read_text()

    for script in SCRIPTS:
        name = script.relative_to(EXAMPLES).as_posix()
        assert f"[{name}]({name})" in index
        assert len(script.read_text().splitlines()) <= (60 if "/" in name else 50)
