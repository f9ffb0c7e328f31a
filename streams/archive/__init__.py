"""Raw notifications in files: ``tocsin archive`` writes them, ``tocsin publish --raw`` replays them.

`lines` is the form of a record, and `members` that of a file. `files` writes files that survive a crash,
`archiver` reads the topics as a member of a group and commits what is durable, `replay` reads files again.
"""
