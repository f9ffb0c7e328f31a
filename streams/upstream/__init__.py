"""Every use of a private part of Faust, mode, aiokafka or rocksdict, and every patch of them.

Nothing outside this folder uses one (``tests/unit/streams/test_private_uses.py``), and each use has a test in
``tests/unit/streams/upstream/`` that fails when a new version has changed. What changes a whole process, or
an app, is a function called ``install_…``.

Faust:

- `faust_app`, `coordinator`: the app tells Tocsin when work may begin, when it must end, and of a crash.
- `faust_consumer`, `faust_consumer_thread`: the group's consumer keeps membership, commits, and reads
  changelogs and internal topics. It pauses notification topics, which lanes of our own fetch. Offsets of
  managed topics are committed from what is durable, never from what agents acked, and with the id of their
  topic. Waiting for agents at a rebalance or stop has a deadline, and ends with a flush. No call for records
  of an earlier assignment takes any out of sight of a recovery.
- `faust_producer`, `faust_transport`: consumer and producer wait for brokers that are away when they start.
- `faust_messages`: hands batches of records to agents, past Faust's own fetching.
- `faust_recovery`: ``install_observed_recovery``; recovery tells where it began and how far it is, and
  changelogs are fetched only while it lasts. `recovery_progress` says so in the log and to ``/startupz``.
- `faust_tables`, `stores`, `store_faults`: changelogs that several groups share, and rows in stores that tell
  damage from a full disk or a held lock, which Faust takes for the same.

aiokafka's consumers:

- `bulk_records`: ``install_bulk_records``; records as the parser makes them, which costs far less.
- `lenient_records`, `unpacking`: ``install_lenient_records``; a header name that is no text, or a batch that
  unpacks to too much, does not stop its partition.
- `corrupt_batches`: what of a batch that has changed on a broker's disk can be told, and where to go on.
- `refused_fetches`: a partition that a broker refuses to send is asked for again after a pause.
- `fetch_packing`: ``install_fetch_packing``; fetch requests and answers are packed a partition at a time.
  `answer_bytes` takes answers apart.
- `instance_watch`: notices that another process has taken over the instance id, and takes it back no more.
- `whole_assignment`: an assignment that does not fit a member which came back is not taken; whether the group
  was given all partitions.
- `group_members`: what other members of a group subscribe to.

aiokafka's producers and connections:

- `open_batches`: adds to a batch that is open, in a fifth of the time of ``send``.
- `packed_batches`: a batch that takes records already packed.
- `produce_packing`: ``install_produce_packing``; produce requests are packed at once. `unjoined`: their
  bytes, in pieces until they leave.
- `producers`: closes a producer that does not stop by itself.
- `connections`: connects again until brokers are there; disconnects whatever the client is doing.
- `clients`: the client inside the others; whether a broker can be used, and how many answer.
- `topic_ids`: ids of topics, which aiokafka does not ask for.
- `fetch_by_id`: fetches a topic by its id, so that nothing of another one of the same name can come; its
  messages are in `fetch_by_id_messages`.
- `rebootstrap`: ``install_rebootstrap``, or `let_bootstrap_again` for one; clients that lost all brokers they
  know ask the bootstrap addresses.
- `no_topic_creation`: ``install_no_topic_creation``; asking for a topic has no broker create it.
"""
