"""Where reslab differs from the paper, or chose where the paper is silent: one ledger, shown in every report."""

from typing import Final

from reslab.core.colour import Colour
from reslab.core.experiment import Experiment, Photographs, Recipe
from reslab.experiments.names import CLASSES, WIDTHS, architecture_of
from reslab.experiments.open_choices import INITIAL_WEIGHTS, INTERPOLATION, Deviation
from reslab.experiments.recipes import cifar_paper, paper
from reslab.models.architecture import BN_EPS, Architecture


def _always(_experiment: Experiment) -> bool:
    return True


def _small(experiment: Experiment) -> bool:
    return experiment.data != "folder"


def _photographs(experiment: Experiment) -> bool:
    return experiment.data == "folder"


def _prepared_otherwise(experiment: Experiment) -> bool:
    settings, usual = experiment.recipe.photographs, Photographs()
    if settings is None:
        return False
    contract = settings.contract.but({"resample": usual.contract.resample})  # which has a line of its own
    if contract.mean_image is not None:  # whose average is the mean
        contract = contract.but({"mean": usual.contract.mean, "mean_image": None})
    scale = usual.scale if settings.area else settings.scale
    return (contract, scale) != (usual.contract, usual.scale)


def _parts(experiment: Experiment) -> bool:
    settings = experiment.recipe.photographs
    return settings is not None and settings.area is not None


def _growing(experiment: Experiment) -> bool:
    settings = experiment.recipe.photographs
    return settings is not None and settings.progressive is not None


def _one_mean(experiment: Experiment) -> bool:
    settings = experiment.recipe.photographs
    return settings is not None and settings.contract.mean_image is None


def _colours(experiment: Experiment) -> Colour | None:
    settings = experiment.recipe.photographs
    return None if settings is None else settings.colour


def _paper(experiment: Experiment) -> Recipe:
    return paper() if _photographs(experiment) else cifar_paper()


def _network(experiment: Experiment) -> Architecture:
    return architecture_of(experiment.model)


def _narrow(experiment: Experiment) -> bool:
    return _network(experiment).width != WIDTHS[_network(experiment).family]


LEDGER: Final[tuple[Deviation, ...]] = (
    Deviation(
        "pictures",
        "CIFAR-10: 50,000 + 10,000 colour pictures of 32x32 (section 4.2)",
        "the first 12,000 + 2,000 of Fashion-MNIST by class, grey 28x28, as three equal channels",
        lambda experiment: experiment.data == "embedded",
    ),
    Deviation(
        "photographs",
        "ImageNet: 1.28 million training pictures of 1,000 classes (section 4.1)",
        "a folder of any photographs and classes; EXIF orientation is applied, alpha laid on white",
        _photographs,
    ),
    Deviation(
        "mean",
        "per-pixel mean of the training pictures (section 3.4)",
        "ImageNet's mean of each channel; the first batch normalisation takes up the difference (--mean-image subtracts"
        " an image)",
        _one_mean,
    ),
    Deviation(
        "preparation",
        "RGB pixels in [0, 255] minus the mean; shorter side from 256 to 480, crops of 224 (section 3.4)",
        "as other weights ask for, or as was asked: other mean, scale, order of channels, sides or crops",
        _prepared_otherwise,
    ),
    Deviation(
        "random area",
        "a crop of 224 of the picture at a random scale, its shape unchanged (section 3.4)",
        "any part of the picture, of a random share of its area and a random aspect, resized to the crop: that of"
        " GoogLeNet (Szegedy et al. 2015), which torchvision's recipes have",
        _parts,
    ),
    Deviation(
        "progressive sides",
        "crops of one size throughout (section 3.4)",
        "crops of training that grow: smaller ones cost less; testing keeps its crop",
        _growing,
    ),
    Deviation(
        "colour",
        "the colour augmentation of AlexNet (section 3.4)",
        "none (--colour published, which the recipe paper has)",
        lambda experiment: _photographs(experiment) and _colours(experiment) is None,
    ),
    Deviation(
        "colour's strength",
        "draws times eigenvalues, says AlexNet's paper; of pixels in which range is not said, and its code takes roots",
        "eigenvalues of pixels in [0, 1], as fb.resnet.torch (--colour-scale sqrt: roots, 2.1 times as strong)",
        lambda experiment: _colours(experiment) is not None,
    ),
    *INTERPOLATION,
    Deviation(
        "start",
        "all networks from scratch (section 3.4)",
        "trained weights, a new classifier, a lower rate for the rest: fine-tuning",
        lambda experiment: experiment.start is not None,
    ),
    Deviation(
        "classes",
        f"{CLASSES['cifar']} classes (section 4.2)",
        "CIFAR-100's 100 fine classes",
        lambda experiment: experiment.data == "cifar100",
    ),
    Deviation(
        "length",
        f"{cifar_paper().steps:,} steps of {cifar_paper().batch} (section 4.2),"
        f" {paper().steps:,} of {paper().batch} on ImageNet (section 3.4)",
        "other steps or batches; the rate drops at fractions of them",
        lambda experiment: (
            (experiment.recipe.steps, experiment.recipe.batch) != (_paper(experiment).steps, _paper(experiment).batch)
        ),
    ),
    Deviation(
        "rate",
        "divided by 10 when the error plateaus (section 3.4), at steps 15e4 and 30e4 of Figure 4; 32k and 48k on CIFAR",
        "at fractions of all steps: a quarter and a half, as in Figure 4, or others (paper-plateau: on plateaus)",
        lambda experiment: _photographs(experiment) and bool(experiment.recipe.schedule.drops),
    ),
    Deviation(
        "plateau",
        "the error plateaus (section 3.4): which error, over how long, is not said",
        "the mean training error of whole windows has not fallen for some of them; the run says when",
        lambda experiment: experiment.recipe.schedule.plateau is not None,
    ),
    Deviation(
        "another course of the rate",
        "constant between divisions by 10 (sections 3.4, 4.2)",
        "a cosine, a ramp at the beginning, or divisions by another number",
        lambda experiment: (
            experiment.recipe.schedule.cosine
            or experiment.recipe.schedule.ramp > 0
            or experiment.recipe.schedule.divide_by != _paper(experiment).schedule.divide_by
        ),
    ),
    Deviation(
        "labels",
        "one class a picture",
        "smoothed: a part of each label is shared by all classes",
        lambda experiment: experiment.recipe.label_smoothing > 0,
    ),
    Deviation(
        "width",
        f"{WIDTHS['cifar']} filters in the first stage (section 4.2), {WIDTHS['imagenet']} on ImageNet (Table 1)",
        "another width: fewer filters train sooner",
        _narrow,
    ),
    Deviation(
        "blocks",
        "CIFAR networks of basic blocks, 6n+2 layers (section 4.2)",
        "bottlenecks, 9n+2 layers: what ImageNet's deep networks have, at a small scale",
        lambda experiment: _network(experiment).family == "cifar" and _network(experiment).block == "bottleneck",
    ),
    Deviation(
        "a bottleneck's stride",
        "in the first 1x1, says the authors' release",
        "in the 3x3 (v1.5): more multiply-adds, the same parameters",
        lambda experiment: _network(experiment).stride_on == "3x3",
    ),
    Deviation(
        "first pooling",
        "3x3, stride 2; the authors' release pads nothing and cuts the last window short",
        "a border of one pixel, as the field does: the same size, shifted by a pixel (--pool caffe: as released)",
        lambda experiment: _network(experiment).pool == "pad1",
    ),
    Deviation(
        "batch normalisation's epsilon",
        "not said; Caffe's default is 1e-5",
        "another",
        lambda experiment: experiment.model.bn_eps != BN_EPS,
    ),
    Deviation(
        "batch normalisation's group",
        "128 pictures on two GPUs, so 64 share their statistics (section 4.2); 32 on ImageNet",
        "another group; one group a step costs less",
        lambda experiment: experiment.recipe.bn_group != _paper(experiment).bn_group,
    ),
    Deviation(
        "training set",
        "45,000 pictures to choose the schedule; which set Table 6's networks saw is not said",
        "all training pictures",
        lambda experiment: _small(experiment) and not experiment.recipe.validation,
    ),
    Deviation(
        "validation set",
        "45,000 pictures to choose the schedule and 5,000 to validate it (section 4.2)",
        "training pictures are set aside to validate on; the error reported is still that on the test set",
        lambda experiment: experiment.recipe.validation > 0,
    ),
    *INITIAL_WEIGHTS,
    Deviation(
        "weight decay",
        "1e-4; on which parameters is not said",
        "on the weights of convolutions and classifier; --optim.decay all adds biases and batch normalisation",
        lambda experiment: experiment.recipe.optim.decay == "conv_fc_weights",
    ),
    Deviation(
        "momentum's form",
        "Caffe: the rate is inside the velocity",
        "torch: the rate multiplies the velocity; the two differ only just after a drop",
        _always,
    ),
    Deviation(
        "batch statistics at test time",
        "recomputed over a large training batch after training, says the authors' repository",
        "running averages with momentum 0.1 (--bn-average recomputes them)",
        lambda experiment: not experiment.recipe.bn_average,
    ),
    Deviation(
        "recomputed batch statistics",
        "a true average over a sufficiently large training batch, says the authors' repository; how large is not said",
        "means over the groups of the pictures that training would have taken next, augmented as in training",
        lambda experiment: experiment.recipe.bn_average > 0,
    ),
    Deviation(
        "padding",
        "4 pixels on each side; the value is not said",
        "zeros, after the mean is subtracted",
        lambda experiment: _small(experiment) and experiment.recipe.augment.pad > 0,
    ),
    Deviation(
        "precision",
        "fp32",
        "training in bf16 where the processor computes in it natively (--precision fp32 forbids it); testing in fp32",
        lambda experiment: experiment.recipe.precision != "fp32",
    ),
)


def deviations(experiments: list[Experiment]) -> list[Deviation]:
    """The ledger's lines that touch any of ``experiments``."""
    return [line for line in LEDGER if any(line.applies(experiment) for experiment in experiments)]


def as_markdown(lines: list[Deviation]) -> str:
    """The ledger as a Markdown table."""
    rows = [f"| {line.topic} | {line.paper} | {line.ours} |" for line in lines]
    return "\n".join(["| | the paper | reslab |", "|---|---|---|", *rows]) + "\n"
