"""Every example runs as a newcomer would run it: as a program, without a key."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(path for path in EXAMPLES.glob("*.py") if path.name != "common.py")


@pytest.mark.filterwarnings(  # LangServe asks instances of pydantic models for their fields
    "ignore:Accessing the 'model_fields' attribute:pydantic.warnings.PydanticDeprecatedSince211"
)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_example_runs_without_a_key(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)

    runpy.run_path(str(script), run_name="__main__")

    printed, complaints = capsys.readouterr()
    assert printed.strip()
    assert complaints == ""


def test_every_example_is_in_the_index_and_short() -> None:
    index = (EXAMPLES / "README.md").read_text()

    for script in SCRIPTS:
        assert f"[{script.name}]({script.name})" in index
        assert len(script.read_text().splitlines()) <= 50
