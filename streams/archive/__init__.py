"""Raw notifications in files: ``tocsin archive`` writes them, ``tocsin publish --raw`` replays them.

`lines` is the form of a record, and `members` that of a file. `files` writes files that survive a crash.
`archiver` puts the rest together: `membership` in a group says what to read, a `lane` for each topic reads
it, and `writing` commits it once it is durable. `replay` reads files again, by the `places` of records.
"""
