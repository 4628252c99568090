"""Metadata of the distribution: version, dependencies, extras, and files."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
HOME = ""  # URL of the project's public repository; empty until there is one
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "serverfull_wsgi/__init__.py").read_text(), re.MULTILINE)[1]

GRANIAN = "granian~=2.8.9"  # its worker's interface is private, and may change with each minor version
EXTRAS = {
    "aws": ["boto3>=1.34"],
    "celery": ["celery[redis]>=5.7"],
    "docs": ["celery[redis]>=5.7", "furo", "myst-parser>=4", "PyYAML>=6", "sphinx>=8"],
    "jwt": ["PyJWT[crypto]>=2.8,!=2.10.0"],
    "mock": ["polyfactory>=3"],
    "gevent": ["gevent>=24.11", "packaging"],  # gunicorn's own extra has the same two
    "granian": [GRANIAN],
    "sam": ["PyYAML>=6"],
    "test": [
        "apig-wsgi>=2.18",
        "attrs",
        "aws-lambda-powertools>=3",
        "awscli",
        "awscrt",
        "boto3",
        "celery[redis]>=5.7",
        "Django>=4.2",
        "fastapi",
        "Flask>=3",
        "gevent>=24.11",
        GRANIAN,
        "hypothesis>=6.100",
        "mangum",
        "moto[server]>=5",
        "playwright",
        "polyfactory>=3",
        "pydantic>=2",
        "PyJWT[crypto]>=2.8,!=2.10.0",
        "pytest>=8",
        "pytest-httpserver>=1.1",
        "pytest-xdist>=3.6",
        "python-multipart",
        "PyYAML>=6",
        "requests-aws4auth>=1.3",
        "sentry-sdk>=2",
        "waitress>=3",
    ],
}

setup(
    name="serverfull-wsgi",
    version=VERSION,
    description="AWS Lambda functions on your own machines: a WSGI application that speaks the Lambda API",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    author="the serverfull_wsgi developers",
    url=HOME or None,
    project_urls={"Changelog": f"{HOME}/blob/main/CHANGELOG.md", "Issues": f"{HOME}/issues"} if HOME else {},
    keywords=[
        "aws",
        "aws-lambda",
        "faas",
        "gunicorn",
        "lambda",
        "local-lambda",
        "sam",
        "self-hosted",
        "serverless",
        "testing",
        "wsgi",
    ],
    license_expression="Apache-2.0",
    license_files=["LICENSE", "serverfull_wsgi/api/model/NOTICE"],
    python_requires=">=3.10",
    packages=find_packages(include=["serverfull_wsgi", "serverfull_wsgi.*"]),
    package_data={
        "serverfull_wsgi": [
            "py.typed",
            "executors/isolated/runtimes/*.mjs",
            "fetchers/sam/inline/*.js",
            "api/model/lambda.json",
            "api/model/NOTICE",
        ]
    },
    install_requires=[
        "werkzeug>=3",
        "gunicorn>=27",
        "environs>=14.1",
        "python-dotenv>=1",
        "statsd>=4",
        "simplejson>=3.20",
        "click>=8.1",
        "awslambdaric>=3; sys_platform == 'linux' and platform_machine in 'x86_64 aarch64'",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["serverfull=serverfull_wsgi.__main__:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Web Environment",
        "Intended Audience :: Developers",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)),
        "Topic :: Internet :: WWW/HTTP :: WSGI :: Application",
        "Topic :: Software Development :: Testing :: Mocking",
        "Typing :: Typed",
    ],
)
