from pathlib import Path

import ai21_chains.emulator as emulator


def test_the_table_in_the_readme_is_the_generated_one():
    readme = (Path(emulator.__file__).parent / "README.md").read_text()

    assert readme.endswith(f"\n{emulator.coverage_table().strip()}\n")
