"""Installs the `slowfast` package. The versions the tests run with are in requirements.txt."""

from pathlib import Path

from setuptools import find_packages, setup

EXTRAS = {
    "video": ["opencv-python-headless>=4.10", "torchcodec==0.13.0"],  # other decoding backends
    "images": ["simplejpeg>=1.8"],  # folders of JPEGs faster than with Pillow
    "shards": ["fsspec>=2025.2"],  # shards behind a URL
    "prune": ["torch-pruning==1.6.1"],
    "pytorchvideo": ["pytorchvideo==0.1.5"],  # MODEL.MODEL_NAME PTV...
    "deploy": ["onnx>=1.18", "onnxscript>=0.5", "onnxruntime>=1.22", "openvino>=2025.2"],
    "quantize": [  # tools/quantize.py; onnxruntime needs no more than "deploy"
        "nncf>=3.4",
        "onnx>=1.18",
        "onnxscript>=0.5",
        "onnxruntime>=1.22",
        "openvino>=2026.1",
    ],
    "coreml": ["coremltools>=9.0"],  # tools/export.py --format coreml
    "executorch": ["executorch>=1.5.1"],
    "slurm": ["submitit>=1.5"],  # tools/submit.py
    "serve": ["fastapi>=0.115", "uvicorn>=0.38", "websockets>=15"],  # tools/serve.py
    "cox3d": ["continual-inference>=1.2.4"],  # tools/benchmark.py --cox3d, a yardstick
    "dev": [
        "pytest==9.2.0",
        "pytest-xdist==3.8.0",
        "pytest-timeout==2.4.0",
        "pytest-cov==7.1.0",
        "hypothesis==6.170.15",
        "ruff==0.17.5",
        "mypy==2.4.1",
        "types-PyYAML==6.0.12.20261113",
        "pylint==4.1.4",  # duplicate-code check
        # Independent implementations the tests compare with.
        "pytorchvideo==0.1.5",
        "fvcore==0.1.5.post20221221",
        "continual-inference==1.2.4",
        "scikit-learn==1.9.1",
        "opencv-python-headless==5.0.0.93",
        "webdataset==1.0.2",
        # Exported models are run and compared.
        "onnx==1.23.2",
        "onnxscript==0.7.2",
        "onnxruntime==1.31.1",
        "openvino==2026.4.1",
        "coremltools==9.0",
        "nncf==3.4.0",
        "executorch==1.5.1",
        # The page is served, and used by Chromium where that is installed.
        "fastapi==0.165.0",
        "uvicorn==0.54.0",
        "websockets==17.4",
        "submitit==1.5.4",
        "selenium==4.51.0",
    ],
}

setup(
    name="slowfast-efficient",
    version="0.1.0",
    description="Train, test and compress video action recognition models",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["slowfast", "slowfast.*"]),
    package_data={
        "slowfast.deploy.serve": ["static/*"],
        "slowfast.reports.page": ["*.css", "*.js"],
    },
    install_requires=[
        "torch>=2.13,<2.14",
        "torchvision>=0.28,<0.29",
        "numpy>=2.1",
        "yacs>=0.1.8",
        "PyYAML>=6.0",
        "av>=14",
        "pillow>=11",
        "rich>=13",
        "matplotlib>=3.9",
        "tensorboard>=2.18",
    ],
    extras_require=EXTRAS,
)
