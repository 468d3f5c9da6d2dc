import java.io.FileReader;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Sends a record with Java's own producer and a file of properties, for tests/secured.
 *
 * Arguments: for each producer the file, the topic and the value. Prints a line "TOPIC-PARTITION@OFFSET" for each.
 */
public class SendSecured {
    public static void main(String[] args) throws Exception {
        for (int at = 0; at < args.length; at += 3) {
            var properties = new Properties();
            try (var file = new FileReader(args[at])) {
                properties.load(file);
            }
            String token = properties.getProperty("sasl.oauthbearer.token.endpoint.url");
            if (token != null) {
                // Java reads a token only where its command line allows it.
                System.setProperty("org.apache.kafka.sasl.oauthbearer.allowed.urls", token);
                System.setProperty("org.apache.kafka.sasl.oauthbearer.allowed.files", token.substring("file://".length()));
            }
            properties.put("max.block.ms", "20000");
            try (var producer = new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer())) {
                System.out.println(producer.send(new ProducerRecord<>(args[at + 1], args[at + 2])).get());
            }
        }
    }
}
