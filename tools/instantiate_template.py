#!/usr/bin/env python3
r"""Make a working directory with train.py, eval.py and export.py from a model template.

    python tools/instantiate_template.py \
        tools/model_templates/custom-action-recognition/s3d-rgb-mobilenet-v3/template.yaml \
        /tmp/my_model

--download also gets the trained weights the template names (snapshot.pth). docs/templates.md shows
what to do there.
"""

from pathlib import Path

from slowfast.learners.templates.template import instantiate
from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.parser import tool_parser


def main(argv: list[str] | None = None) -> None:
    parser = tool_parser(__doc__)
    add = parser.add_argument
    add("template", type=Path, help="template.yaml, or its folder")
    add("output", type=Path, help="the working directory, made when missing")
    add("--download", action="store_true", help="also get files from the network")
    add("--force", action="store_true", help="replace files that are there")
    add("-v", "--verbose", action="store_true", help="name every file")
    args = parser.parse_args(argv)
    setup_logging()
    with one_line_errors(traceback=args.traceback):
        written = instantiate(args.template, args.output, fetch=args.download, replace=args.force)
    for path in written if args.verbose else ():
        print(path)
    print(f"{len(written)} files in {args.output}; go there and run python train.py --help")


if __name__ == "__main__":
    main()
