#!/usr/bin/env python3
"""Lints or renders a chart, as `helm lint --strict` and `helm template` would.

usage: helm.py lint|template CHART NAMESPACE < VALUES.json

What is rendered comes as one YAML stream; what is wrong goes to standard error, with exit status 1.
"""
import json
import sys

from helm_python import chart, errors


def lint(path, namespace, values):
    report = chart.lint(path, values, strict=True, namespace=namespace)
    # That an icon is recommended is all that may be said.
    found = [message["path"] + ": " + message["error"] for message in report["messages"] if message["severity"] > 1]
    return "", found + report["errors"]


def template(path, namespace, values):
    try:
        loaded = chart.Chart.load(path)
        loaded.validate_schema(values)
        files = loaded.render(values, name="weir", namespace=namespace)
    except errors.HelmError as error:
        return "", [str(error)]
    return "".join("---\n" + text for name, text in sorted(files.items()) if name.endswith(".yaml")), []


def main(what, path, namespace):
    made, wrong = {"lint": lint, "template": template}[what](path, namespace, json.load(sys.stdin))
    print(made)
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
