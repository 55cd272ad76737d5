import java.nio.file.Files;
import java.time.Duration;
import java.util.Arrays;
import java.util.Locale;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.WindowedSerdes;

/**
 * The JVM's half of streams/tests/cluster/hand_over.rs: the same job, to take over from Moldau and to hand over to it.
 *
 * Arguments: bootstrap servers, application id, prefix of all topics. Says RUNNING, and ends when its input does.
 */
public final class HandOver {
    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[1]);
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        // Nothing but the topics is kept.
        properties.put(StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("hand-over").toString());
        KafkaStreams streams = new KafkaStreams(job(arguments[2]).build(), properties);
        CountDownLatch running = new CountDownLatch(1);
        streams.setStateListener((state, before) -> {
            if (state == KafkaStreams.State.RUNNING) {
                running.countDown();
            }
        });
        streams.start();
        if (!running.await(90, TimeUnit.SECONDS)) {
            throw new IllegalStateException("not running after 90 s, but " + streams.state());
        }
        System.out.println("RUNNING");
        System.in.read();
        // Without a word the group would wait for it until the session times out.
        CloseOptions leave = CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP);
        if (!streams.close(leave.withTimeout(Duration.ofSeconds(60)))) {
            throw new IllegalStateException("not closed after 60 s");
        }
        streams.cleanUp();
        System.exit(0);
    }

    private static StreamsBuilder job(String prefix) {
        StreamsBuilder builder = new StreamsBuilder();
        KGroupedStream<String, String> words = builder.stream(prefix + "-lines", Consumed.with(TEXT, TEXT))
            .flatMapValues(line -> Arrays.asList(line.toLowerCase(Locale.ROOT).split("\\s+")))
            .groupBy((key, word) -> word, Grouped.with("by-word", TEXT, TEXT));
        words.count(Materialized.as("counts"))
            .toStream().to(prefix + "-counts", Produced.with(TEXT, Serdes.Long()));
        words.windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofMinutes(1)))
            .count(Materialized.as("per-minute"))
            .toStream()
            .to(prefix + "-per-minute", Produced.with(WindowedSerdes.timeWindowedSerdeFrom(String.class, 60_000), Serdes.Long()));
        KTable<String, String> customers =
            builder.table(prefix + "-customers", Consumed.with(TEXT, TEXT), Materialized.as("customers"));
        builder.stream(prefix + "-orders", Consumed.with(TEXT, TEXT))
            .leftJoin(customers, (order, customer) -> order + " of " + customer, Joined.with(TEXT, TEXT, TEXT))
            .to(prefix + "-joined", Produced.with(TEXT, TEXT));
        return builder;
    }

    private static final Serde<String> TEXT = Serdes.String();
}
