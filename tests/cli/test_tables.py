from trp_search.cli.tables import mark


def test_every_reason_has_a_mark_of_its_own_and_keeps_it():
    marks: dict[str, str] = {}
    given = [mark(marks, f"rank {number} would not save") for number in range(60)]
    assert given[:2] + given[25:28] == ["(a)", "(b)", "(z)", "(aa)", "(bb)"]
    assert len(set(given)) == 60
    assert mark(marks, "rank 0 would not save") == "(a)"
