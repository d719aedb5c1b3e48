import pathlib

from setuptools import find_packages, setup

setup(
    name="selectnet_tf",
    version="0.2.0",
    description=(
        "SelectNet (Liu, Gao, Yang 2019): learning to sample from the wild for imbalanced data"
        " training, in Keras 3"
    ),
    long_description=pathlib.Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["selectnet_tf*"]),
    package_data={
        "selectnet_tf": ["py.typed"],
        "selectnet_tf.report": ["*.css", "*.js", "numbers/*.csv"],
    },
    install_requires=[
        "tensorflow>=2.18",
        "keras>=3.10",  # before it, two replicas train with another loss than one
        "numpy>=2.0",
        "pillow>=10.1",
        "imagehash>=4.3.1",
        "rich>=13.7",
        "pandas>=2.2.2",
        "filelock>=4.3",
        "matplotlib>=3.9",
        "absl-py>=2.0",
        "scipy>=1.13",
        "scikit-learn>=1.6.1",
        "imbalanced-learn>=0.13",
        "tensorboard>=2.18",
    ],
    entry_points={"console_scripts": ["selectnet = selectnet_tf.__main__:main"]},
    extras_require={
        "gpu": ["tensorflow[and-cuda]"],
        "scale": ["ray[data,default]>=2.60"],
        "test": ["pytest>=8", "ray[data,default]>=2.60", "selenium>=4.20", "setuptools>=70.1"],
        "lint": ["ruff==0.17.6", "mypy==2.4.1", "pandas-stubs==3.1.0.261029"],
        "docs": ["mkdocs-material>=9.5", "mkdocstrings[python]>=0.26"],
    },
)
