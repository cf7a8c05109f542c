"""What a baseline's answers do to a loss and to a training."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from trp_search.records import Distillation
from trp_search.tasks import TASKS
from trp_search.tasks.distillation import Teacher
from trp_search.tasks.task import answers

IMAGES, CLASSES = 7, 5
TASK = TASKS["classification"]


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, CLASSES)).double()


def drawn(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(IMAGES, 3, 2, 2, generator=generator, dtype=torch.float64)


def mixed(student, teacher, *, weight, temperature, loss=None):
    images = drawn()
    own = torch.zeros((), dtype=torch.float64) if loss is None else loss
    settings = Distillation(weight=weight, temperature=temperature)
    return Teacher(teacher, settings, TASK).mixed(own, images, student(images))


@given(st.floats(0.05, 1), st.floats(0.5, 20))
def test_the_gradient_is_the_difference_of_softened_answers(weight, temperature):
    student, teacher, images = linear(0), linear(1), drawn()
    logits = student(images).detach().requires_grad_()
    settings = Distillation(weight=weight, temperature=temperature)
    zero = torch.zeros((), dtype=torch.float64)
    Teacher(teacher, settings, TASK).mixed(zero, images, logits).backward()
    found, wanted = ((x / temperature).softmax(1) for x in (logits, teacher(images)))
    expected = weight * temperature * (found - wanted) / IMAGES
    assert torch.allclose(logits.grad, expected, atol=1e-12)


def test_who_answers_as_the_teacher_has_nothing_to_learn():
    student = linear()
    loss = mixed(student, copy.deepcopy(student), weight=1.0, temperature=4.0)
    loss.backward()
    assert abs(loss.item()) < 1e-12
    assert student[1].weight.grad.abs().max() < 1e-12


def test_half_precision_around_a_distance_does_not_round_it():
    logits, teacher = (torch.randn(IMAGES, CLASSES).bfloat16() for _ in range(2))
    expected = TASK.distance(logits.float(), teacher.float(), 4.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(TASK.distance(logits, teacher, 4.0), expected)


def test_the_distance_is_weighed_against_the_labels():
    student, teacher = linear(0), linear(1)
    one = mixed(student, teacher, weight=1.0, temperature=2.0)
    own = torch.tensor(3.0, dtype=torch.float64)
    half = mixed(student, teacher, weight=0.25, temperature=2.0, loss=own)
    assert half.item() == pytest.approx(0.75 * 3 + 0.25 * one.item())


def test_the_teacher_stays_as_it_is():
    teacher = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten())
    before = copy.deepcopy(teacher.state_dict())
    images, logits = drawn().float(), torch.zeros(IMAGES, 16, requires_grad=True)
    asked = Teacher(teacher, Distillation(), TASK)
    losses = [asked.mixed(torch.zeros(()), images, logits) for _ in range(2)]
    losses[0].backward()
    assert torch.equal(*losses), "no dropout, no statistics of this batch"
    assert all(torch.equal(one, before[name]) for name, one in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_of_several_answers_the_first_counts():
    logits = torch.ones(2, 3)
    assert answers(lambda _: (logits, logits + 1), logits) is logits
    assert functional.softmax(answers(lambda _: logits, logits), 1).sum().item() == pytest.approx(2)
