import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Counts notifications by priority and event type with Kafka Streams, as an arm of the benchmarks does.
 *
 * <p>It is told everything by system properties "bench.*" (see __main__.py beside this). Counts go into a map, or
 * into a persistent store with a changelog and Kafka Streams' cache before it. A store is one of a partition, so
 * that nothing has to be repartitioned. There is one stream thread, as by default, and so one writer of all files.
 */
public final class CountNotifications {
    private static final String STORE = "counts";
    private static final String ALERTS = "alerts";

    private CountNotifications() {}

    private static String told(String name) {
        return System.getProperty("bench." + name);
    }

    public static void main(String[] arguments) throws Exception {
        long late = System.nanoTime() - Long.parseLong(told("startedAt"));
        if (late < 0 || late > Duration.ofMinutes(1).toNanos()) {
            throw new IllegalStateException("System.nanoTime() is not the monotonic clock of Python");
        }
        Map<String, String> priorities = new HashMap<>();
        for (String entry : told("topics").split(",")) {
            String[] parts = entry.split("=");
            priorities.put(parts[0], parts[1]);
        }
        boolean forward = !told("alerts").isEmpty();
        Progress progress = new Progress(Path.of(told("progress")), Long.parseLong(told("target")));
        HandledTimes handled = new HandledTimes(Path.of(told("folder"), "handled"));
        boolean state = Boolean.parseBoolean(told("state"));
        long workNanos = Long.parseLong(told("workNanos"));

        var bytes = Serdes.ByteArray();
        var topology = new Topology();
        String[] topics = priorities.keySet().toArray(String[]::new);
        topology.addSource("notifications", bytes.deserializer(), bytes.deserializer(), topics);
        topology.addProcessor(
                "count", () -> new Counter(priorities, progress, handled, forward, state, workNanos), "notifications");
        if (state) {
            var store = Stores.persistentKeyValueStore(STORE);
            topology.addStateStore(
                    Stores.keyValueStoreBuilder(store, Serdes.String(), Serdes.Long()).withCachingEnabled(), "count");
        }
        if (forward) {
            topology.addSink(ALERTS, told("alerts"), bytes.serializer(), bytes.serializer(), "count");
        }

        var settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, told("group"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, told("brokers"));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, Path.of(told("folder"), "state").toString());
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1000);
        if (forward) {
            // By default it waits 100 ms for more to send.
            settings.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 0);
        }
        var streams = new KafkaStreams(topology, settings);
        streams.setUncaughtExceptionHandler(
                problem -> {
                    problem.printStackTrace();
                    Runtime.getRuntime().halt(1);
                    return null;
                });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
        streams.start();
    }

    /** What is done with each record; one of these for each partition number. */
    private static final class Counter implements Processor<byte[], byte[], byte[], byte[]> {
        private final Map<String, String> priorities;
        private final Progress progress;
        private final HandledTimes handled;
        private final boolean forward;
        private final boolean state;
        private final long workNanos;
        private final ObjectMapper json = new ObjectMapper();
        private final Map<String, Long> counts = new HashMap<>();
        private KeyValueStore<String, Long> store;
        private ProcessorContext<byte[], byte[]> context;

        Counter(
                Map<String, String> priorities,
                Progress progress,
                HandledTimes handled,
                boolean forward,
                boolean state,
                long workNanos) {
            this.priorities = priorities;
            this.progress = progress;
            this.handled = handled;
            this.forward = forward;
            this.state = state;
            this.workNanos = workNanos;
        }

        @Override
        public void init(ProcessorContext<byte[], byte[]> given) {
            context = given;
            store = state ? given.getStateStore(STORE) : null;
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            progress.begin();
            String priority = priorities.get(context.recordMetadata().orElseThrow().topic());
            if (forward && priority.equals("CRITICAL")) {
                handled.note(record.value());
                context.forward(record, ALERTS);
            }
            if (workNanos > 0) {
                burn(workNanos);
            }
            String key = priority + "/" + eventType(record.value());
            if (state) {
                Long before = store.get(key);
                store.put(key, before == null ? 1L : before + 1L);
            } else {
                counts.merge(key, 1L, Long::sum);
            }
            progress.add(priority.equals("DEBUG"));
        }

        private String eventType(byte[] value) {
            try {
                return json.readTree(value).get("event_type").asText();
            } catch (IOException problem) {
                throw new UncheckedIOException(problem);
            }
        }

        private static void burn(long nanos) {
            long until = System.nanoTime() + nanos;
            while (System.nanoTime() < until) {
                Thread.onSpinWait();
            }
        }
    }

    /** The numbers of progress.py: handled, of these DEBUG, first, reached, ready; each of eight bytes. */
    private static final class Progress {
        private final MappedByteBuffer map;
        private final long target;
        private long handled;
        private long debug;
        private boolean begun;

        Progress(Path path, long target) throws IOException {
            try (FileChannel file = FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
                map = file.map(FileChannel.MapMode.READ_WRITE, 0, 5 * Long.BYTES);
            }
            map.order(ByteOrder.nativeOrder());
            this.target = target;
        }

        void begin() {
            if (!begun) {
                begun = true;
                map.putLong(2 * Long.BYTES, System.nanoTime());
            }
        }

        void add(boolean isDebug) {
            if (isDebug) {
                debug++;
                map.putLong(Long.BYTES, debug);
            }
            handled++;
            map.putLong(0, handled);
            if (handled == target) {
                map.putLong(3 * Long.BYTES, System.nanoTime());
            }
        }
    }

    /** The file of handled.py: number and time of each CRITICAL record that bears a number. */
    private static final class HandledTimes {
        private static final Pattern NUMBER = Pattern.compile("\"bench_number\": ?(\\d+)");
        private final FileChannel file;
        private final ByteBuffer entry = ByteBuffer.allocate(2 * Long.BYTES).order(ByteOrder.nativeOrder());

        HandledTimes(Path path) throws IOException {
            file = FileChannel.open(path, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        }

        void note(byte[] value) {
            long now = System.nanoTime();
            Matcher found = NUMBER.matcher(new String(value, StandardCharsets.ISO_8859_1));
            if (!found.find()) {
                return;
            }
            entry.clear().putLong(Long.parseLong(found.group(1))).putLong(now).flip();
            try {
                file.write(entry);
            } catch (IOException problem) {
                throw new UncheckedIOException(problem);
            }
        }
    }
}
