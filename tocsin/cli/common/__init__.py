"""What several commands share. No command is in here: those are the files and folders beside this one."""
