"""Model templates: a recipe in a file becomes a working directory with three commands.

``tools/instantiate_template.py`` copies a template's folder; the ``train.py``, ``eval.py`` and
``export.py`` in it call ``main`` of the modules here. Commands, flags and files are those of
OpenVINO Training Extensions' custom action recognition.
"""
