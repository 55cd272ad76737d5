import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.Metric;
import org.apache.kafka.common.MetricName;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.WindowedSerdes;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

/**
 * The jobs of `moldau bench streams`, on Kafka Streams and on the input that Moldau has loaded.
 *
 * Arguments: bootstrap servers, job, records, "memory" or "disk", "at-least-once" or "exactly-once". Prints the same
 * figures, as JSON. All settings that are not named here are Kafka Streams' defaults, as they are Moldau's.
 */
public final class Bench {
    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[0];
        String job = arguments[1];
        long records = Long.parseLong(arguments[2]);
        boolean onDisk = arguments[3].equals("disk");
        boolean restores = job.equals("restore");
        String application = restores ? "moldau-bench-restore" : "moldau-bench-" + Long.toHexString(System.nanoTime());
        Path state = Files.createTempDirectory("bench");
        Properties properties = new Properties();
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        properties.put(StreamsConfig.STATE_DIR_CONFIG, state.toString());
        properties.put("auto.offset.reset", "earliest");
        if (arguments[4].equals("exactly-once")) {
            properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        }
        String output = application + "-output";
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(output, 6, (short) 1))).all().get();
            try {
                System.out.println(run(topology(job, onDisk, output), properties, job, records));
            } finally {
                List<String> written = admin.listTopics().names().get().stream()
                    .filter(name -> restores ? name.equals(output) : name.startsWith(application))
                    .collect(Collectors.toList());
                admin.deleteTopics(written).all().get();
            }
        }
        System.exit(0);
    }

    private static StreamsBuilder topology(String job, boolean onDisk, String output) {
        StreamsBuilder builder = new StreamsBuilder();
        switch (job) {
            case "filter-map" -> builder.stream("moldau-bench-events", Consumed.with(Serdes.Bytes(), json(Event.class)))
                .filter((key, event) -> event.amount >= 50)
                .mapValues(Purchase::new)
                .to(output, Produced.with(Serdes.Bytes(), json(Purchase.class)));
            case "windowed-count" -> {
                Duration day = Duration.ofDays(1);
                Duration minute = Duration.ofMinutes(1);
                Materialized<String, Long, WindowStore<Bytes, byte[]>> counts = onDisk
                    ? Materialized.as("counts")
                    : Materialized.as(Stores.inMemoryWindowStore("counts", day.plus(minute), minute, false));
                builder.stream("moldau-bench-events", Consumed.with(Serdes.Bytes(), json(Event.class)))
                    .groupBy((key, event) -> event.user, Grouped.with(Serdes.String(), json(Event.class)))
                    .windowedBy(TimeWindows.ofSizeAndGrace(minute, day))
                    .count(counts.withKeySerde(Serdes.String()).withValueSerde(Serdes.Long()))
                    .toStream()
                    .to(output, Produced.with(WindowedSerdes.timeWindowedSerdeFrom(String.class, 60_000), Serdes.Long()));
            }
            case "restore", "keys" -> {
                String input = job.equals("keys") ? "moldau-bench-keys" : "moldau-bench-restore-input";
                Materialized<Bytes, Long, KeyValueStore<Bytes, byte[]>> counts = onDisk
                    ? Materialized.as("counts")
                    : Materialized.as(Stores.inMemoryKeyValueStore("counts"));
                builder.stream(input, Consumed.with(Serdes.Bytes(), Serdes.Bytes()))
                    .groupByKey(Grouped.with(Serdes.Bytes(), Serdes.Bytes()))
                    .count(counts.withKeySerde(Serdes.Bytes()).withValueSerde(Serdes.Long()))
                    .toStream()
                    .to(output, Produced.with(Serdes.Bytes(), Serdes.Long()));
            }
            default -> throw new IllegalArgumentException("no such job: " + job);
        }
        return builder;
    }

    private static String run(StreamsBuilder builder, Properties properties, String job, long records) throws Exception {
        Moment start = Moment.now();
        KafkaStreams streams = new KafkaStreams(builder.build(), properties);
        CountDownLatch running = new CountDownLatch(1);
        streams.setStateListener((state, before) -> {
            // Before there is an assignment it is RUNNING too, with nothing to do.
            if (state == KafkaStreams.State.RUNNING && !streams.metadataForLocalThreads().isEmpty()
                && streams.metadataForLocalThreads().stream().anyMatch(thread -> !thread.activeTasks().isEmpty())) {
                running.countDown();
            }
        });
        streams.start();
        CloseOptions leave = CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP);
        Moment middle = start;
        Moment end = null;
        double warmShare = 1;
        if (job.equals("restore")) {
            if (!running.await(30, TimeUnit.MINUTES)) {
                throw new IllegalStateException("not restored after 30 minutes");
            }
            end = Moment.now();
        } else {
            long reads = job.equals("windowed-count") ? 2 * records : records;
            double half = await(streams, reads / 2);
            middle = Moment.now();
            warmShare = Math.max(0, reads - half) / reads;
            await(streams, reads);
        }
        if (!streams.close(leave.withTimeout(Duration.ofMinutes(10)))) {
            throw new IllegalStateException("not closed after 10 minutes");
        }
        if (end == null) {
            end = Moment.now();
        }
        double seconds = (end.nanos - start.nanos) / 1e9;
        double cpu = (end.cpu - start.cpu) / 1e9;
        double warm = (end.cpu - middle.cpu) / 1e9 / (records * warmShare) * 1e6;
        long peak = peakMemory();
        streams.cleanUp();
        return String.format(Locale.ROOT, "{\"records\": %d, \"seconds\": %.3f, \"records_per_second\": %.1f, "
                + "\"cpu_seconds\": %.3f, \"cpu_seconds_per_million\": %.4f, \"warm_cpu_seconds_per_million\": %.4f, "
                + "\"peak_memory_bytes\": %d}",
            records, seconds, records / seconds, cpu, cpu / records * 1e6, warm, peak);
    }

    /** Waits until all tasks together have processed so many records. */
    private static double await(KafkaStreams streams, long wanted) throws InterruptedException {
        while (true) {
            double processed = 0;
            for (Map.Entry<MetricName, ? extends Metric> metric : streams.metrics().entrySet()) {
                MetricName name = metric.getKey();
                if (name.name().equals("process-total") && name.group().equals("stream-thread-metrics")) {
                    processed += (Double) metric.getValue().metricValue();
                }
            }
            if (processed >= wanted) {
                return processed;
            }
            if (streams.state() == KafkaStreams.State.ERROR) {
                throw new IllegalStateException("the job failed");
            }
            Thread.sleep(20);
        }
    }

    private static long peakMemory() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM:")) {
                return Long.parseLong(line.replaceAll("[^0-9]", "")) * 1024;
            }
        }
        return 0;
    }

    private record Moment(long nanos, long cpu) {
        static Moment now() {
            OperatingSystemMXBean system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
            return new Moment(System.nanoTime(), system.getProcessCpuTime());
        }
    }

    private static <T> Serde<T> json(Class<T> type) {
        return Serdes.serdeFrom(
            (topic, value) -> {
                try {
                    return value == null ? null : JSON.writeValueAsBytes(value);
                } catch (IOException error) {
                    throw new UncheckedIOException(error);
                }
            },
            (topic, bytes) -> {
                try {
                    return bytes == null ? null : JSON.readValue(bytes, type);
                } catch (IOException error) {
                    throw new UncheckedIOException(error);
                }
            });
    }

    public static final class Event {
        public long id;
        public String user;
        public String page;
        public String country;
        public int duration_ms;
        public double amount;
        public String session;
    }

    public static final class Purchase {
        public long id;
        public String user;
        public double amount;
        public boolean is_large;

        public Purchase() {
        }

        Purchase(Event event) {
            id = event.id;
            user = event.user;
            amount = event.amount;
            is_large = event.amount >= 90;
        }
    }

    private static final ObjectMapper JSON = new ObjectMapper();
}
