// Apple's push service as pushy mocks it (com.eatthepath:pushy, MIT): HTTP/2 over TLS, tokens verified by the key. Run by `java` from
// its source. Arguments: certificate, its key, the verification key (all PEM), port. A line for each push, once "listening" is said.

import com.eatthepath.pushy.apns.ApnsPushNotification;
import com.eatthepath.pushy.apns.auth.ApnsVerificationKey;
import com.eatthepath.pushy.apns.server.*;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.math.BigInteger;
import java.time.Instant;
import java.util.*;

public class MockApns {
  static final String GOOD = "00aa".repeat(16), GONE = "11bb".repeat(16);

  public static void main(String[] arguments) throws Exception {
    ApnsVerificationKey key = ApnsVerificationKey.loadFromPkcs8File(new File(arguments[2]), "TEAM123456", "KEY1234567");
    // Not Map.of: the mock asks for null.
    Map<String, Set<String>> tokens = new HashMap<>();
    tokens.put("org.example.chat", new HashSet<>(List.of(GOOD, GONE)));
    tokens.put("org.example.other", new HashSet<>());
    Map<String, Instant> expired = new HashMap<>(Map.of(GONE, Instant.ofEpochSecond(1_700_000_000)));
    Map<String, ApnsVerificationKey> keys = new HashMap<>(Map.of(key.getKeyId(), key));
    Map<ApnsVerificationKey, Set<String>> topics = new HashMap<>(Map.of(key, new HashSet<>(tokens.keySet())));
    PushNotificationHandlerFactory validating =
        new ValidatingPushNotificationHandlerFactory(tokens, expired, keys, topics);
    PushNotificationHandlerFactory handlers =
        session -> {
          PushNotificationHandler handler = validating.buildHandler(session);
          return (headers, payload) -> {
            headers.set("authorization", inDer(headers.get("authorization").toString()));
            handler.handlePushNotification(headers, payload);
          };
        };
    MockApnsServer server =
        new MockApnsServerBuilder()
            .setServerCredentials(new File(arguments[0]), new File(arguments[1]), null)
            .setUseAlpn(true)
            .setHandlerFactory(handlers)
            .setListener(
                new ParsingMockApnsServerListenerAdapter() {
                  public void handlePushNotificationAccepted(ApnsPushNotification push) {
                    System.out.println(
                        String.join("|", "accepted", push.getTopic(), push.getPushType().toString(),
                            push.getPriority().toString(), push.getCollapseId(), push.getExpiration().toString(), push.getPayload()));
                  }

                  public void handlePushNotificationRejected(ApnsPushNotification push, RejectionReason why, Instant at) {
                    System.out.println("rejected|" + why);
                  }
                })
            .build();
    server.start(Integer.parseInt(arguments[3])).get();
    System.out.println("listening");
    Thread.currentThread().join();
  }

  // RFC 7518 (3.4) has a signature as two numbers of 32 bytes, and so has Apple. pushy 0.15.4 knows them in DER only.
  static String inDer(String authorization) {
    int at = authorization.lastIndexOf('.') + 1;
    byte[] signature = Base64.getUrlDecoder().decode(authorization.substring(at));
    byte[] r = new BigInteger(1, Arrays.copyOfRange(signature, 0, 32)).toByteArray();
    byte[] s = new BigInteger(1, Arrays.copyOfRange(signature, 32, 64)).toByteArray();
    ByteArrayOutputStream der = new ByteArrayOutputStream();
    der.writeBytes(new byte[] {0x30, (byte) (4 + r.length + s.length), 2, (byte) r.length});
    der.writeBytes(r);
    der.writeBytes(new byte[] {2, (byte) s.length});
    der.writeBytes(s);
    return authorization.substring(0, at) + Base64.getUrlEncoder().withoutPadding().encodeToString(der.toByteArray());
  }
}
