import pathlib

from setuptools import find_packages, setup

setup(
    name="selectnet_tf",
    version="0.1.0",
    description="SelectNet (Liu, Gao, Yang 2019): learning to sample from the wild for imbalanced data training, in Keras 3",
    long_description=pathlib.Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.10",
    packages=find_packages(include=["selectnet_tf*"]),
    package_data={"selectnet_tf.report": ["*.css", "*.js", "numbers/*.csv"]},
    install_requires=[
        "tensorflow>=2.18",
        "keras>=3.10",  # before it, two replicas train with another loss than one
        "numpy>=2",
        "pillow",
        "imagehash",
        "rich",
        "pandas",
        "matplotlib",
        "absl-py",
        "scipy",
        "scikit-learn",
        "imbalanced-learn",
        "tensorboard",
    ],
    extras_require={"test": ["pytest", "selenium"], "lint": ["ruff"], "docs": ["mkdocs-material", "mkdocstrings[python]"]},
)
