"""Folders of pictures -> a Task: labeled ones, a pool, and a test folder or a part held out."""

import pathlib

import numpy as np

from selectnet_tf.data import folders, splits
from selectnet_tf.data.tasks import Task, digest
from selectnet_tf.images import Images, Subset


def make(recipe, cache_dir):
    """labeled_dir with a folder for each class, unlabeled_dir of any shape, test_dir as labeled_dir or a part held out."""
    (labeled, paths), (pool, pool_paths), (test, _) = (
        _pictures(roots, recipe.image_size, cache_dir) for roots in (recipe.labeled_dir, recipe.unlabeled_dir, recipe.test_dir)
    )
    names, y = labeled.classes(recipe.labeled_dir)
    if test.files:
        kept, (x_test, y_test) = np.arange(len(y)), (test.images, test.classes(recipe.test_dir, names)[1])
    else:
        kept, held = splits.hold_out(y, names, recipe.seed)
        x_test, y_test = Subset(labeled.images, held), y[held]
    known = {*labeled.digests, *test.digests}
    places = np.array([i for i, digest in enumerate(pool.digests) if digest not in known], int)
    minor = splits.minor_classes(recipe.minor, names, np.bincount(y[kept], minlength=len(names)))
    held_out = "" if test.files else f", {len(y_test):,} of them held out for the test"
    says = [f"{len(y):,} labeled pictures of {len(names)} classes{held_out}; {len(places):,} unlabeled ones"]
    says.append("  minor classes: " + ", ".join(f"{names[c]} ({(y[kept] == c).sum():,} labeled)" for c in minor))
    if len(places) < len(pool.files):
        says.append(f"  {len(pool.files) - len(places):,} unlabeled pictures stand among the labeled or test ones too: left out")
    says += [f"  skipped {file}: {why}" for found in (labeled, pool, test) for file, why in found.skipped[:20]]
    says += [f"  and {len(found.skipped) - 20:,} more" for found in (labeled, pool, test) if len(found.skipped) > 20]
    index = np.concatenate([kept, len(y) + places])
    truth = np.concatenate([y[kept], np.full(len(places), -1)]).astype(np.int32)
    x_unlabeled = Subset(pool.images if pool.files else labeled.images, places)
    made_from = digest(*(part for found in (labeled, pool, test) for part in (found.files, found.digests)), list(names))
    return Task(
        Subset(labeled.images, kept), y[kept], x_unlabeled, x_test, y_test, names, minor, truth, index, says, paths + pool_paths,
        digest=made_from,
    )  # fmt: skip


def _pictures(roots, size, cache_dir):
    """(Folder of all pictures below "A" or "A,B" with paths for files, the classes' part of its paths); empty for None."""
    roots = [root.strip() for root in (roots or "").split(",") if root.strip()]
    found = [folders.read(root, size, cache_dir) for root in roots]
    images = Images(*(f.images for f in found)) if found else None
    return folders.Folder(
        images,
        [file for f in found for file in f.files],
        [digest for f in found for digest in f.digests],
        [(str(pathlib.Path(root, file)), why) for root, f in zip(roots, found, strict=True) for file, why in f.skipped],
    ), [path for root, f in zip(roots, found, strict=True) for path in f.paths(root)]
