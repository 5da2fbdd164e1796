// Asks a gateway for recommendations: java Recommend [HOST:PORT] [USER]
//
// Stubs: protoc -I protos --java_out=DIR --grpc-java_out=DIR protos/twostage/v1/*.proto. The files name no Java package,
// so the classes are in twostage.v1.

import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.StatusRuntimeException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import twostage.v1.Gateway.Recommendation;
import twostage.v1.Gateway.RecommendRequest;
import twostage.v1.Gateway.RecommendResponse;
import twostage.v1.RecommendationServiceGrpc;

public final class Recommend {
  // A call that could not be made is made again; what was refused for want of room is not.
  private static final Map<String, ?> RETRIES =
      Map.of(
          "methodConfig",
          List.of(
              Map.of(
                  "name", List.of(Map.of("service", "twostage.v1.RecommendationService")),
                  "retryPolicy",
                      Map.of(
                          "maxAttempts", 3.0,
                          "initialBackoff", "0.02s",
                          "maxBackoff", "0.2s",
                          "backoffMultiplier", 2.0,
                          "retryableStatusCodes", List.of("UNAVAILABLE")))));

  public static void main(String[] arguments) throws InterruptedException {
    String address = arguments.length > 0 ? arguments[0] : "localhost:50050";
    String user = arguments.length > 1 ? arguments[1] : "";
    ManagedChannel channel =
        ManagedChannelBuilder.forTarget("dns:///" + address)
            .usePlaintext()
            .defaultLoadBalancingPolicy("round_robin")
            .defaultServiceConfig(RETRIES)
            .enableRetry()
            .build();
    try {
      RecommendResponse answer =
          RecommendationServiceGrpc.newBlockingStub(channel)
              // The first call also waits for the connection and for the JVM to warm up.
              .withDeadlineAfter(10, TimeUnit.SECONDS)
              .recommend(RecommendRequest.newBuilder().setUserId(user).setCount(5).build());
      System.out.printf("generation %d, %s%n", answer.getGeneration(), answer.getRung());
      for (Recommendation item : answer.getRecommendationsList()) {
        System.out.printf("%.4f  %s  %s%n", item.getScore(), item.getItemId(), item.getTitle());
      }
      if (answer.hasShortfall()) {
        System.out.printf(
            "%d missing: %s%n", answer.getShortfall().getMissingCount(), answer.getShortfall().getReason());
      }
    } catch (StatusRuntimeException error) {
      System.err.println(error.getStatus().getCode() + ": " + error.getStatus().getDescription());
      System.exit(1);
    } finally {
      channel.shutdownNow().awaitTermination(1, TimeUnit.SECONDS);
    }
  }
}
