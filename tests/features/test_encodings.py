

def test_a_column_that_was_constant_does_not_blow_up_when_it_moves():
    """sin and cos of a month that never changed have a deviation of 1e-17, which must not be divided by."""
    january, march = 1_767_225_600_000_000, 1_772_323_200_000_000
    columns = (Column("at", "time"),)
    frame = {"at": january + np.arange(100, dtype=np.int64) * 3_600_000_000}
    fitted = fit(defaults(columns), columns, frame, encoding="dense", time_zone="UTC")
    moved = transform(fitted.graph, fitted.inputs, {"at": np.array([march])})
    assert np.abs(moved).max() < 10
