"""Which runs stand behind each of the paper's tables and figures."""

from collections.abc import Sequence

from selectnet_tf import recipes

COLUMNS = (  # of Table 1, the cheapest first
    ("cifar10-4minor", "simple"), ("cifar10-4minor", "resnet20"), ("cifar100-4minor", "resnet20"),
    ("cifar10-4minor", "resnet56"), ("cifar100-4minor", "resnet56"), ("cifar100-10minor", "resnet56"),
)  # fmt: skip
TABLES = {  # what each of the paper's tables and figures needs: (data set, arch) columns, methods, lambda schedules
    "table1": (COLUMNS, recipes.PAPER_METHODS, ("constant",)),
    "table2": (COLUMNS[:1], ("oversampling", "self_paced", "selectnet"), ("constant",)),
    "table3": ((("cifar10-lt", "resnet32"), ("cifar100-lt", "resnet32")), ("class_balanced", "selectnet"), ("constant",)),
    "table4": (COLUMNS[:1], ("selectnet",), ("constant", "0.4:0.6", "0.6:0.4")),
    "figure2": (COLUMNS[:1], ("selectnet",), ("constant",)),
}
V2 = {"resnet20": "resnet20v2", "resnet56": "resnet56v2"}  # what the tables call ResNet-20 and 56, in the released code


def table_arch(arch: str, preset: str) -> str:
    """What the paper's tables call a run's arch: under preset released, ResNet-20 and 56 are those of v2."""
    if preset == "released":
        return next((name for name, v2 in V2.items() if v2 == arch), f"{arch} v1" if arch in V2 else arch)
    return arch


def grid(
    table: str,
    seeds: Sequence[int] = (0,),
    preset: str = "paper",
    datasets: Sequence[str] | None = None,
    archs: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    epochs: int = 200,
) -> list[recipes.Recipe]:
    """The recipes behind a table or figure, the cheapest columns first: a list of Recipe.

    datasets, archs (as the table names them) narrow its columns; one that the table does not have is added. Runs that are
    shorter than a round select at their end.
    """
    every = {"every": epochs} if epochs < recipes.Recipe.every else {}
    columns, own_methods, schedules = TABLES[table]
    known = [list(dict.fromkeys(column[i] for column in columns)) for i in (0, 1)]
    asked = [(d, a) for d in datasets or known[0] for a in archs or known[1]]
    new = [c for c in asked if c[0] not in known[0] or c[1] not in known[1]]
    return [
        recipes.make(
            dataset=dataset, arch=V2.get(arch, arch) if preset == "released" else arch, method=method, preset=preset,
            seed=seed, epochs=epochs, lambda_schedule=schedule, **every,
        )
        for dataset, arch in [c for c in columns if c in asked] + new or asked
        for seed in seeds for method in methods or own_methods for schedule in (schedules if method in recipes.SELECTING else schedules[:1])
    ]  # fmt: skip
