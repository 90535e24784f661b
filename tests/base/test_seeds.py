from hitsr.base.seeds import derive


def test_each_use_of_each_seed_gets_another_seed():
    seeds = {derive(seed, use) for seed in (0, 1, 11) for use in ("weights", "patches", "1")}
    assert len(seeds) == 9
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_derived_seeds_stay_the_same_across_versions():
    assert derive(1, "weights") == 5164344575451445340
