"""What the ablation trains, and what it claims of it."""

from __future__ import annotations

from dataclasses import dataclass

from ablation_table import Claim

COMMON = ("tensorboard=false", "checkpoint_every=100000", "log_every=25", "lr=0.002")
CUT = "text.max_length=96"  # tokens: half of the reports are longer
ALIGN = (*COMMON, "validation=0", "data.images_per_study=1", "sampling={conclusion: 2.0}", CUT)
GOES_ON = ("both_towers=true", "lr=0.001")
MIRRORED = (*GOES_ON, "sampling={conclusion: 1.0, whole: 3.0}", "contrastive.augment.flip=0.5")
PRETRAIN = (*COMMON, "dino={local_crops: 2}")


@dataclass(frozen=True)
class Variant:
    """One row of the table: what is trained, and how it differs from ``scratch``."""

    name: str
    about: str
    pretrain: str = ""  # objective of the pretraining; "" for none
    align: tuple[str, ...] | None = ()  # settings of the alignment; None: there is none
    long: bool = False  # aligned for the time of pretraining and alignment together
    start: str = ""  # the variant whose aligned model it goes on from, both towers
    times: int = 1  # as many steps as an alignment has
    templated: bool = False  # on the corpus whose reports are templates
    probes: bool = True


VARIANTS = (
    Variant("scratch", "InfoNCE with several positives, from random weights"),
    Variant("hard_negatives", "+ contrastive.hard_negatives=1", align=("contrastive.hard_negatives=1",), probes=False),
    Variant(
        "hard_negatives_centred",
        "+ contrastive.hard_negatives=1, contrastive.hard_negatives_centred=1",
        align=("contrastive.hard_negatives=1", "contrastive.hard_negatives_centred=1"),
        probes=False,
    ),
    Variant("local", "+ contrastive.local=1 (SPARC)", align=("contrastive.local=1",), probes=False),
    Variant(
        "local_gloria",
        "+ contrastive.local=1, contrastive.local_loss=gloria",
        align=("contrastive.local=1", "contrastive.local_loss=gloria"),
        probes=False,
    ),
    Variant(
        "templates_plain", "40 % templates, plain InfoNCE", align=("contrastive.multi_positive=false",), templated=True
    ),
    Variant("templates", "40 % templates, contrastive.multi_positive", templated=True),
    Variant("scratch_long", "scratch, aligned as long as DINO and alignment together", long=True),
    Variant("dino", "DINO alone", pretrain="dino", align=None),
    Variant("dino_align", "DINO, then alignment", pretrain="dino"),
    Variant("dino_align_long", "DINO, then aligned for as many steps as scratch_long", pretrain="dino", long=True),
    Variant("dino_local", "DINO, then + contrastive.local=1 (SPARC)", "dino", ("contrastive.local=1",), probes=False),
    Variant(
        "dino_local_gloria",
        "DINO, then + contrastive.local=1, contrastive.local_loss=gloria",
        "dino",
        ("contrastive.local=1", "contrastive.local_loss=gloria"),
        probes=False,
    ),
    Variant(
        "dino_hard_negatives",
        "DINO, then + contrastive.hard_negatives=1",
        "dino",
        ("contrastive.hard_negatives=1",),
        probes=False,
    ),
    Variant(
        "long_then_plain", "scratch_long, then aligned on as before", start="scratch_long", align=GOES_ON, probes=False
    ),
    Variant(
        "long_then_hard_negatives",
        "scratch_long, then aligned on with contrastive.hard_negatives=1",
        start="scratch_long",
        align=(*GOES_ON, "contrastive.hard_negatives=1"),
        probes=False,
    ),
    Variant(
        "dino_long_then_plain",
        "dino_align_long, then aligned on for 1,200 steps with more whole reports and contrastive.augment.flip=0.5",
        start="dino_align_long",
        align=MIRRORED,
        times=2,
        probes=False,
    ),
    Variant(
        "dino_long_then_hard_negatives",
        "the same with contrastive.hard_negatives=8",
        start="dino_align_long",
        align=(*MIRRORED, "contrastive.hard_negatives=8"),
        times=2,
        probes=False,
    ),
    Variant("random", "random weights", align=None),
)


def _against_its_negation(variant: str, *others: str) -> list[Claim]:
    """Claims that a variant tells a text from its negation better than ``others`` do, and than it does without the image."""
    scopes, measures = ("report", "statement"), ("true_over_false", "image_decides")
    found = [Claim("c", variant, other, f"{m}_{scope}") for other in others for m in measures for scope in scopes]
    return found + [Claim("c", variant, variant, f"true_over_false_{scope}", "_without_image") for scope in scopes]


CLAIMS = (
    Claim("a", "dino_align", "scratch", "zero_shot"),
    Claim("a", "dino_align", "scratch_long", "zero_shot"),
    Claim("a", "dino_align_long", "scratch_long", "zero_shot"),
    *(
        Claim("a", "dino_align", other, f"linear_{share}")
        for share in ("1%", "10%")
        for other in ("scratch", "scratch_long", "dino")
    ),
    *(Claim("a", "dino_align_long", "scratch_long", f"linear_{share}") for share in ("1%", "10%")),
    Claim("b", "templates", "templates_plain", "zero_shot"),
    *(Claim("b", "templates", "templates_plain", f"linear_{share}") for share in ("1%", "10%")),
    *(Claim("b", "templates", "templates_plain", f"recall_at_10_{way}") for way in ("image_to_text", "text_to_image")),
    *(Claim("c", "hard_negatives", "scratch", f"true_over_false_{scope}") for scope in ("report", "statement")),
    *(
        Claim("c", "hard_negatives", "hard_negatives", f"true_over_false_{scope}", "_without_image")
        for scope in ("report", "statement")
    ),
    *(Claim("c", "hard_negatives", "scratch", f"image_decides_{scope}") for scope in ("report", "statement")),
    Claim("c", "hard_negatives", "scratch", "zero_shot"),
    *_against_its_negation("hard_negatives_centred", "scratch", "hard_negatives"),
    Claim("c", "hard_negatives_centred", "scratch", "zero_shot"),
    *_against_its_negation("long_then_hard_negatives", "scratch_long", "long_then_plain"),
    Claim("c", "long_then_hard_negatives", "long_then_plain", "zero_shot"),
    *_against_its_negation("dino_long_then_hard_negatives", "dino_align_long", "dino_long_then_plain"),
    Claim("c", "dino_long_then_hard_negatives", "dino_long_then_plain", "zero_shot"),
    *(
        Claim("d", better, worse, measure)
        for better, worse in (
            *(("local", "scratch"), ("local_gloria", "scratch")),
            *(("dino_local", "dino_align"), ("dino_local_gloria", "dino_align")),
        )
        for measure in ("pointing", "pointing_contrast", "zero_shot")
    ),
    *(
        Claim("d", variant, variant, "pointing", ending)
        for variant in ("local", "local_gloria", "dino_local", "dino_local_gloria", "dino_align")
        for ending in ("_chance", "_centre")
    ),
)
