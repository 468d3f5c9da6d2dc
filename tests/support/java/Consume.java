import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;

/**
 * Reads topics with Kafka's own consumer and deserializers, for tests/java.rs.
 *
 * Arguments: bootstrap servers; then for each topic its name, the classes of the deserializers of keys and values (without
 * their package), and how many records partition 0 holds. Prints a line "TOPIC|KEY|VALUE|HEADERS" for each record.
 */
public class Consume {
    public static void main(String[] args) {
        for (int at = 1; at < args.length; at += 4) {
            read(args[0], args[at], args[at + 1], args[at + 2], Integer.parseInt(args[at + 3]));
        }
    }

    static void read(String bootstrap, String topic, String keys, String values, int records) {
        String classes = "org.apache.kafka.common.serialization.";
        Map<String, Object> config = Map.of(
            "bootstrap.servers", bootstrap,
            "auto.offset.reset", "earliest",
            "key.deserializer", classes + keys,
            "value.deserializer", classes + values);
        long deadline = System.nanoTime() + Duration.ofSeconds(60).toNanos();
        try (var consumer = new KafkaConsumer<Object, Object>(config)) {
            var partition = List.of(new TopicPartition(topic, 0));
            consumer.assign(partition);
            consumer.seekToBeginning(partition);
            for (int read = 0; read < records; ) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException(topic + ": " + read + " of " + records + " records came");
                }
                for (ConsumerRecord<Object, Object> record : consumer.poll(Duration.ofMillis(200))) {
                    System.out.println(topic + "|" + show(record.key()) + "|" + show(record.value()) + "|" + headers(record));
                    read++;
                }
            }
        }
    }

    static String show(Object value) {
        return value instanceof byte[] bytes ? HexFormat.of().formatHex(bytes) : String.valueOf(value);
    }

    static String headers(ConsumerRecord<Object, Object> record) {
        var all = new StringBuilder();
        record.headers().forEach(header ->
            all.append(header.key()).append('=').append(new String(header.value(), StandardCharsets.UTF_8)));
        return all.toString();
    }
}
