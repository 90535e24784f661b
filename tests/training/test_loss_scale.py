import torch

from hitsr.training.loss_scale import LossScale

BAD = {1, 2, 3, 700, 2701}  # it doubles after step 2700


def test_the_scale_is_that_of_torchs_scaler():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer, scaler = torch.optim.SGD([parameter], lr=0), torch.amp.GradScaler("cpu")
    scaler.scale(torch.zeros(1))  # makes it
    scale = LossScale(torch.device("cpu"))
    seen = {scale.value.item()}
    for step in range(1, 2703):
        is_bad = step in BAD
        parameter.grad = torch.tensor([torch.inf if is_bad else 1.0])
        scaler.step(optimizer)
        scaler.update()
        scale.adapt(torch.tensor(float(is_bad)))
        assert scale.value.item() == scaler.get_scale(), step
        seen.add(scale.value.item())
        if step == 1500:  # as from a checkpoint
            kept = {name: each.clone() for name, each in scale.state.items()}
            scale = LossScale(torch.device("cpu"))
            for name, place in scale.state.items():
                place.copy_(kept[name])
    assert seen == {2.0**power for power in range(12, 17)}
