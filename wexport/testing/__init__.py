"""What a reader's author tests with: the contract as tests to inherit, and damaged files by the thousand.

    import pytest
    import wexport.testing
    from my_plugin import READER

    MODEL = Path(__file__).parent / "model.my"

    class TestMyReader(wexport.testing.ReaderTests):
        reader = READER
        path = MODEL
        values = {"layer/kernel": np.load(...)}      # what the file must give

    def test_damaged_files_end_in_one_named_status_each():
        found = wexport.testing.ingest_mutants(MODEL, count=2_000)
        assert not found.statuses["crashed"] + found.statuses["timed out"]

Needs pytest and nothing else.
"""

from wexport.testing.contract import ReaderTests
from wexport.testing.mutants import Mutant, mutants
from wexport.testing.trials import Trials, ingest_mutants

__all__ = ["Mutant", "ReaderTests", "Trials", "ingest_mutants", "mutants"]
