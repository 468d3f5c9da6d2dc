import java.io.FileOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;

/**
 * Makes a key store and a trust store in Java's own format (JKS), for tests/secured.
 *
 * Arguments: the client's key (PKCS#8) and certificate, and the authority's certificate, in PEM; the two stores; their
 * password.
 */
public class MakeStores {
    public static void main(String[] args) throws Exception {
        char[] password = args[5].toCharArray();
        String pem = Files.readString(Path.of(args[0])).replaceAll("-----[^-]*-----|\\s", "");
        var key = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));

        KeyStore keys = KeyStore.getInstance("JKS");
        keys.load(null, null);
        keys.setKeyEntry("client", key, password, new Certificate[] {certificate(args[1])});
        store(keys, args[3], password);

        KeyStore trusted = KeyStore.getInstance("JKS");
        trusted.load(null, null);
        trusted.setCertificateEntry("ca", certificate(args[2]));
        store(trusted, args[4], password);
    }

    static Certificate certificate(String file) throws Exception {
        try (var in = Files.newInputStream(Path.of(file))) {
            return CertificateFactory.getInstance("X.509").generateCertificate(in);
        }
    }

    static void store(KeyStore store, String file, char[] password) throws Exception {
        try (var out = new FileOutputStream(file)) {
            store.store(out, password);
        }
    }
}
