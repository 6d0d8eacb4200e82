"""What folders of runs hold: networks, trainings, exported files, commands."""
