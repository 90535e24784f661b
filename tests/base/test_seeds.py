from hitsr.base.seeds import derive


def test_uses_and_seeds_have_seeds_of_their_own():
    seeds = {derive(seed, use) for seed in (0, 1, 11) for use in ("weights", "patches", "1")}
    assert len(seeds) == 9
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_seed_never_changes():
    assert derive(1, "weights") == 5164344575451445340
